// Words and units say what they mean.

import { ago, duration } from "../src/format";
import { expect, ready, signIn, test } from "./program";

test("connected hours are no working time", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=yesterday");
  const hours = page.locator('[data-kpi="time"]');
  await expect(hours.locator("dt")).toHaveText("Connected hours");
  await expect(hours.locator("dt")).toHaveAttribute("title", /open and connected.*not working time/);
  await expect(page.locator(".panel-activity .hint")).toContainText("no working time");
  await expect(page.locator(".panel-activity summary .figure").first()).toHaveText(/^\d+\.\d h$/);
});

test("hours below 100 have one decimal", () => {
  expect([59, 60, 3599, 3600, 27_000, 359_000, 359_990, 3_600_000].map(duration)).toEqual(["59 s", "1 min", "59 min", "1.0 h", "7.5 h", "99.7 h", "100 h", "1,000 h"]);
});

test("numbers say how old they are", async ({ page, demo }) => {
  await page.clock.install();
  await signIn(page, demo.home, demo.owner, "/?range=yesterday");
  await expect(page.locator(".as-of")).toHaveText("updated just now");
  await expect(page.locator(".as-of time")).toHaveAttribute("datetime", /^\d{4}-\d\d-\d\dT/);
  await expect(page.locator(".as-of")).toHaveAttribute("title", /\d\d:\d\d/);
  await page.clock.fastForward(125_000);
  await expect(page.locator(".as-of")).toHaveText("updated 2 min ago");
  await ready(page);
  expect([0, 60_000, 3_599_000, 7_200_000].map((past) => ago(new Date(0).toISOString(), past))).toEqual(["just now", "1 min ago", "59 min ago", "2 h ago"]);
});
