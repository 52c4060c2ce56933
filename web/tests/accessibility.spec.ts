// Everybody can use it: no rule of axe is broken, in whatever state and look.

import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, ready, signIn, test } from "./program";

async function check(page: Page, state: string, rules: string[] = []) {
  const axe = new AxeBuilder({ page });
  const { violations } = await (rules.length > 0 ? axe.withRules(rules) : axe).analyze();
  expect.soft(violations.map((v) => `${state}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`)).toEqual([]);
}

test("no rule of axe is broken", async ({ page, demo }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(demo.home);
  await expect(page.getByLabel("Token")).toBeVisible();
  await check(page, "sign in");
  await page.goto(demo.home + "/nonsense");
  await expect(page.locator('[data-state="no-page"]')).toBeVisible();
  await check(page, "no such page");
  await signIn(page, demo.home, demo.owner);
  await page.locator("#range summary").click();
  await check(page, "all templates and the range");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await check(page, "help");
  await page.keyboard.press("Escape");
  await page.locator(".panel-templates a").first().click();
  await ready(page);
  await page.locator("#me summary").click();
  await page.locator(".panel-activity summary").first().click();
  await page.keyboard.press("g");
  await check(page, "one template, in tables");
  await page.goto(demo.home + "/?from=2020-01-01&to=2020-01-02");
  await ready(page);
  await page.locator(".findings summary").click();
  await page.setViewportSize({ width: 390, height: 844 });
  await check(page, "nothing to show, and no room for it");
  await page.route("**/api/v2/insights/**", (route) => route.abort());
  await page.keyboard.press("w");
  await expect(page.locator(".outage")).toBeVisible();
  await check(page, "the server is down");
  await page.unroute("**/api/v2/insights/**");
  await page.context().clearCookies();
  await signIn(page, demo.home, demo.member);
  await check(page, "forbidden");
});

test("nor where there is less room", async ({ page, demo }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.setViewportSize({ width: 1024, height: 768 });
  await signIn(page, demo.home, demo.owner);
  await check(page, "a tablet");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.locator("#filters summary").click();
  await check(page, "a phone, and what is folded");
});

test("in the dark there is as much contrast", async ({ page, demo }) => {
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await page.goto(demo.home);
  await check(page, "sign in", ["color-contrast"]);
  await signIn(page, demo.home, demo.owner);
  await page.locator("#range summary").click();
  await check(page, "all templates", ["color-contrast"]);
  await page.goto(demo.home + "/?from=2020-01-01&to=2020-01-02");
  await page.locator(".findings summary").click();
  await check(page, "nothing to show", ["color-contrast"]);
});

test("nothing is wider than the window", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  for (const width of [1440, 1024, 768, 390, 320]) {
    await page.setViewportSize({ width, height: 844 });
    await expect.poll(() => page.evaluate(() => document.documentElement.scrollWidth - innerWidth), { message: `at ${width} px` }).toBeLessThanOrEqual(0);
  }
});

test("everything can be reached by keyboard, and one sees where one is", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  await page.locator("body").press("Tab");
  await expect(page.locator(".skip")).toBeFocused();
  const reached = new Set<string>();
  for (let i = 0; i < 120; i++) {
    await page.keyboard.press("Tab");
    const { name, outline } = await page.evaluate(() => {
      const e = document.activeElement as HTMLElement;
      return { name: e === document.body ? "BODY" : e.id || e.getAttribute("aria-label") || e.innerText?.trim().slice(0, 40) || e.tagName, outline: getComputedStyle(e).outlineStyle };
    });
    if (name !== "BODY") expect(outline, name).not.toBe("none");
    reached.add(name);
  }
  for (const name of ["template", "Time zone", "Days", "search", "Export Latency as CSV", "Keyboard shortcuts"]) expect([...reached]).toContain(name);
});
