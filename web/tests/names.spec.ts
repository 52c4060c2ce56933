// Templates that are called the same are told apart wherever they are named.

import { InsightsClient } from "@template-insights/client";
import { randomUUID } from "node:crypto";
import { expect, ready, signIn, test } from "./program";

test("names that repeat have their organization", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  const options = await page.locator("#template option").allInnerTexts(), organizations = (await demo.client.listOrganizations()).map((o) => o.display_name || o.name);
  const dockers = options.filter((name) => name.startsWith("Docker"));
  expect(dockers.length).toBeGreaterThan(1);
  for (const name of dockers) expect(organizations.map((o) => `Docker (${o})`)).toContain(name);
  expect(new Set(options).size).toBe(options.length);

  const rows = await page.locator(".panel-templates tbody a").allInnerTexts();
  expect(rows.filter((name) => name.startsWith("Docker")).sort()).toEqual(dockers.sort());
  const listed = page.locator(".panel-activity details .wide dd").filter({ hasText: "Docker" }).first();
  await expect(listed).toHaveText(/Docker \(\w+\)/, { useInnerText: false });
  await page.locator(".panel-templates tbody a").filter({ hasText: dockers[0] ?? "" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(dockers[0] ?? "");
  await expect(page).toHaveTitle(dockers[0] + " · Template Insights");
});

test("names that repeat within an organization have the name behind them", async ({ page, server }) => {
  const client = new InsightsClient({ server: server.home, token: server.token("control-plane") });
  const [acme, beta] = [randomUUID(), randomUUID()];
  const template = (organization_id: string, name: string) => ({ id: randomUUID(), organization_id, name, display_name: "Docker" });
  await client.applyCatalog({
    organizations: [{ id: acme, name: "acme", display_name: "Acme" }, { id: beta, name: "beta" }],
    templates: [template(acme, "docker"), template(acme, "docker-gpu"), template(beta, "docker"), { ...template(beta, "go"), display_name: "" }],
  });
  await signIn(page, server.home, server.token("owner"));
  expect((await page.locator("#template option").allInnerTexts()).sort()).toEqual(["All templates", "Docker (Acme/docker)", "Docker (beta)", "Docker (docker-gpu)", "go"]);
});

test("whoever sees one template lands on it", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.admin);
  await expect(page).toHaveURL(/\/templates\/[0-9a-f-]{36}\/insights\?tz=Europe\/Berlin$/);
  const path = new URL(page.url()).pathname, name = await page.getByRole("heading", { level: 1 }).innerText();
  expect(await page.locator("#template option").allInnerTexts()).toEqual([name]);
  await expect(page.locator(".panel-templates")).toHaveCount(0);
  await page.goto(demo.home + "/?range=7d");
  await ready(page);
  await expect.poll(() => page.url()).toBe(`${demo.home}${path}?range=7d&tz=Europe/Berlin`);
  await page.locator(".brand").click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
  await expect.poll(() => new URL(page.url()).pathname).toBe(path);
});
