// Until somebody decided how much is known about persons, those who may are asked.

import { AxeBuilder } from "@axe-core/playwright";
import { expect, ready, signIn, test } from "./program";

test("an officer is asked once, and nobody else", async ({ page, server }) => {
  const asked = page.getByRole("form", { name: "How much may be known about persons?" });
  await signIn(page, server.home, server.token("auditor"));
  await expect(page.locator(".state, .kpi").first()).toBeVisible();
  await expect(asked).toHaveCount(0);
  await page.context().clearCookies();
  await signIn(page, server.home, server.token("owner"));
  await expect(asked).toBeVisible();
  await expect(asked.getByRole("radio")).toHaveCount(4);
  await expect(asked.getByRole("radio", { name: /^Named/ })).toBeChecked();
  expect((await new AxeBuilder({ page }).analyze()).violations.map((v) => v.id)).toEqual([]);
  await asked.getByRole("radio", { name: /^Pseudonyms/ }).check();
  await asked.getByRole("button", { name: "Decide" }).click();
  await expect(asked).toHaveCount(0);
  await page.reload();
  await ready(page);
  await expect(asked).toHaveCount(0);
  const mode = await page.evaluate(async () => (await fetch("/api/v2/privacy/mode")).json() as Promise<{ mode: string; since?: string }>);
  expect(mode.mode).toBe("pseudonym");
  expect(mode.since).toBeTruthy();
});

test("nobody is asked where the operator decided", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  await expect(page.locator(".undecided")).toHaveCount(0);
});
