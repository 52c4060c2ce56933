// What is compared is what was recorded, up to the same hour, and no verdict is passed on it.

import { previous, windowBefore, windowOf } from "../src/calendar";
import { count, shortDay } from "../src/format";
import { expect, figure, ready, signIn, test } from "./program";

const dayLength = 86400_000;

test("nothing is compared with days that were not recorded", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=28d&tz=UTC&interval=day&table=users");
  const midnight = new Date().toISOString().slice(0, 10) + "T00:00:00Z";
  const { data_since = "" } = await demo.client.getDiagnosis({ start_time: midnight, end_time: midnight });
  const words = "no data before " + shortDay(data_since, "UTC");
  await expect(page.locator(".kpi .delta")).toHaveText([words, words, words, words, words]);
  await expect(page.locator(".panel-templates .delta")).toHaveCount(0);
  // In the table the period before begins where days were recorded.
  await expect(page.locator(".panel-users thead th")).toContainText(["Interval", "Active users", "Period before", "Note"]);
  const first = Date.parse(midnight) - 55 * dayLength, unknown = Math.round((Date.parse(data_since.slice(0, 10)) - first) / dayLength);
  expect(unknown).toBeGreaterThan(0);
  const before = await page.locator(".panel-users tbody td:nth-child(3)").allInnerTexts();
  expect(before).toHaveLength(28);
  expect(before.map((text) => text === "–")).toEqual(before.map((_, i) => i < unknown));

  // A week of which some days are missing is not compared either.
  await page.goto(page.url().replace("interval=day", "interval=week"));
  await ready(page);
  const monday = first + 21 * dayLength, known = monday >= Date.parse(data_since.slice(0, 10));
  await expect(page.locator(".panel-users thead th")).toHaveCount(known ? 4 : 3);

  await page.keyboard.press("x");
  await expect(page.locator(".kpi .delta")).toHaveCount(0);
});

test("today is compared with yesterday up to the same hour", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=today&tz=UTC");
  const now = Date.now(), end = Math.ceil(now / 3600_000) * 3600_000 - dayLength, day = new Date(now - dayLength).toISOString().slice(0, 10);
  const before = await demo.client.getTemplateInsights({ start_time: day + "T00:00:00Z", end_time: new Date(end).toISOString().slice(0, 19) + "Z", timezone: "UTC" });
  await expect(page.locator('[data-kpi="active-users"] .delta')).toHaveAttribute("title", "Period before: " + count(before.report?.active_users ?? -1));
});

test("figures of two ranges are not shown together", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d&tz=UTC");
  await ready(page);
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/api/v2/insights/user-activity?**", async (route) => {
    await held;
    await route.continue();
  });
  await page.keyboard.press("f");
  await expect(page.locator('[data-kpi="time"] .value')).toHaveText("");
  await expect(page.locator('[data-kpi="time"] .delta')).toHaveCount(0);
  await expect(page.locator('[data-kpi="active-users"] .value')).toHaveText(/\d/);
  release();
  await expect(page.locator('[data-kpi="time"] .value')).toHaveText(/\d/);
});

test("a change has no color beside a rating, nor of people, hours and launches", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  await expect(page.locator(".kpi .delta")).toHaveCount(5);
  await expect(page.locator(".kpi .delta").first()).toHaveText(/%|before|new|×/);
  const colors = await page.locator(".delta").evaluateAll((list) => list.map((e) => getComputedStyle(e).color));
  const faint = await page.locator(".faint").first().evaluate((e) => getComputedStyle(e).color);
  expect(new Set(colors)).toEqual(new Set([faint]));
  expect(Number((await figure(page, "active-users")).replaceAll(",", ""))).toBeGreaterThan(0);
  await ready(page);
});

test("the same hour of the clock, on days of 23 and 25 hours too", () => {
  const of = (now: string, from: string, to: string) => {
    const p = { from, to };
    return [windowOf(p, "Europe/Berlin", Date.parse(now)).end_time, windowBefore(p, "Europe/Berlin", Date.parse(now)).end_time];
  };
  expect(previous({ from: "2026-03-24", to: "2026-03-30" })).toEqual({ from: "2026-03-17", to: "2026-03-23" });
  // Over: the period before is whole.
  expect(of("2026-04-02T10:00:00Z", "2026-03-30", "2026-03-30")).toEqual(["2026-03-31T00:00:00+02:00", "2026-03-30T00:00:00+02:00"]);
  // Half an hour before eight in the evening.
  expect(of("2026-11-29T18:36:00Z", "2026-11-29", "2026-11-29")).toEqual(["2026-11-29T20:00:00+01:00", "2026-11-28T20:00:00+01:00"]);
  expect(of("2026-11-29T18:36:00Z", "2026-11-23", "2026-11-29")).toEqual(["2026-11-29T20:00:00+01:00", "2026-11-22T20:00:00+01:00"]);
  // The last hour ends with the day.
  expect(of("2026-11-29T22:36:00Z", "2026-11-29", "2026-11-29")).toEqual(["2026-11-30T00:00:00+01:00", "2026-11-29T00:00:00+01:00"]);
  // The day before has no two o'clock; the day itself has it twice.
  expect(of("2026-03-29T23:30:00Z", "2026-03-30", "2026-03-30")).toEqual(["2026-03-30T02:00:00+02:00", "2026-03-29T03:00:00+02:00"]);
  expect(of("2026-10-25T01:30:00Z", "2026-10-25", "2026-10-25")).toEqual(["2026-10-25T03:00:00+01:00", "2026-10-24T03:00:00+02:00"]);
  expect(of("2026-03-29T10:30:00Z", "2026-03-29", "2026-03-29")).toEqual(["2026-03-29T13:00:00+02:00", "2026-03-28T13:00:00+01:00"]);
});
