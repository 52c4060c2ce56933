// Charts show what was recorded: no days before the first, and not a single bar.

import { expect, figure, ready, signIn, test } from "./program";

test("one day is told in words", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=yesterday");
  await expect(page.locator(".panel-users .one b")).toHaveText(await figure(page, "active-users"));
  await expect(page.locator(".panel-users .one")).toContainText("before");
  await expect(page.locator(".plot")).toHaveCount(0);
  await expect(page.locator(".spark rect")).toHaveCount(0);
  await page.keyboard.press("w");
  await ready(page);
  await expect(page.locator(".plot")).toHaveAttribute("aria-label", /7 intervals/); // days, however old the templates are
});

test("30 and 90 days, from the first that was recorded", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?tz=UTC&interval=day&table=users");
  await page.keyboard.press("3");
  await ready(page);
  await expect(page.locator("#range summary")).toContainText("30 days");
  await expect(page.locator(".panel-users tbody tr")).toHaveCount(30);
  await page.keyboard.press("9");
  await ready(page);
  expect(new URL(page.url()).searchParams.get("range")).toBe("90d");
  const today = new Date().toISOString().slice(0, 10), midnight = today + "T00:00:00Z";
  const { data_since = "" } = await demo.client.getDiagnosis({ start_time: midnight, end_time: midnight });
  const days = (Date.parse(today) - Date.parse(data_since.slice(0, 10))) / 86400_000 + 1;
  expect(days).toBeLessThan(90);
  await expect(page.locator(".panel-users tbody tr")).toHaveCount(days);
  await expect(page.locator(".panel-users .hint")).toContainText("No data before " + new Date(data_since).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }));
  await expect(page.locator(".spark").first()).toHaveAttribute("aria-label", new RegExp("^Users per day from " + Number(data_since.slice(8, 10)) + " "));
  await page.keyboard.press("g");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("90 days");
});
