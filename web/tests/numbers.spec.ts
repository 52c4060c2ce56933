// The numbers on the page are those of REST for the same question.

import type { AppUsage } from "@template-insights/client";
import type { Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { count, duration, latency } from "../src/format";
import { type Demo, expect, figure, parseCSV, signIn, test } from "./program";

/** exported is what a panel exports: of each row some columns, numbers as such. */
async function exported(page: Page, title: string, ...names: string[]): Promise<(string | number)[][]> {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: `Export ${title} as CSV` }).click()]);
  const [columns = [], ...rows] = parseCSV(readFileSync(await file.path(), "utf8"));
  return rows.map((row) => names.map((name) => row[columns.indexOf(name)] ?? "no such column").map((cell) => (/^\d+(\.\d+)?$/.test(cell) ? Number(cell) : cell)));
}

/** at is the midnight with which a day of a zone begins, as the API wants it. The offsets are written down here, so that nothing of the page is needed. */
const at = (day: string, offset: string): string => `${day}T00:00:00${offset}`;

const addDays = (day: string, n: number): string => new Date(Date.parse(day) + n * 86400_000).toISOString().slice(0, 10);

async function compare(page: Page, demo: Demo, template: string, tz: string, offset: string, interval: "day" | "week") {
  // Whole weeks that are over, so that nothing changes meanwhile.
  const yesterday = addDays(new Date().toISOString().slice(0, 10), -2), days = interval === "week" ? 14 : 7, from = addDays(yesterday, 1 - days);
  const question = { start_time: at(from, offset), end_time: at(addDays(yesterday, 1), offset), template_ids: template === "" ? [] : [template] };
  const address = `${template === "" ? "/" : `/templates/${template}/insights`}?from=${from}&to=${yesterday}&tz=${tz}&interval=${interval}&table=users`;
  await signIn(page, demo.home, demo.owner, address);

  const insights = await demo.client.getTemplateInsights({ ...question, interval });
  const report = insights.report;
  if (!report) throw new Error("no report");
  const activity = await demo.client.getUserActivity(question), latencies = await demo.client.getUserLatency(question);
  expect(report.active_users).toBeGreaterThan(0);

  const apps = [...report.apps_usage, ...(report.unknown_usage ? [report.unknown_usage] : [])];
  const launches = apps.reduce((sum, app) => sum + app.times_used, 0);
  const seconds = (activity.report?.users ?? []).reduce((sum, user) => sum + user.seconds, 0);
  expect(await figure(page, "active-users")).toBe(count(report.active_users));
  expect(await figure(page, "time")).toBe(duration(seconds));
  expect(await figure(page, "time-per-user")).toBe(duration(Math.round(seconds / report.active_users)));
  expect(await figure(page, "launches")).toBe(count(launches));
  expect(await figure(page, "latency")).toBe(latency(latencies.report?.total_latency_ms?.p50 ?? -1));

  expect(await exported(page, "Active users", "start_time", "end_time", "active_users")).toEqual((insights.interval_reports ?? []).map((r) => [r.start_time, r.end_time, r.active_users]));
  expect(await page.locator(".panel-users tbody tr td:nth-child(2)").allInnerTexts()).toEqual((insights.interval_reports ?? []).map((r) => count(r.active_users)));

  const used = (list: AppUsage[]) => list.filter((app) => app.seconds > 0).sort((a, b) => b.seconds - a.seconds);
  expect(await exported(page, "Application usage", "slug", "seconds", "times_used")).toEqual(apps.map((app) => [app.slug, app.seconds, app.times_used]));
  const bars = page.locator(".panel-apps .body > .bars > li > .bar");
  expect(await bars.locator(".figure:nth-child(3)").allInnerTexts()).toEqual(used(apps).map((app) => duration(app.seconds)));

  const everybody = activity.report?.users ?? [], users = everybody.slice(0, 15);
  expect(await exported(page, "User activity", "username", "user_id", "seconds", "active_days")).toEqual(everybody.map((u) => [u.username, u.user_id, u.seconds, u.active_days]));
  expect(await page.locator(".panel-activity summary .figure").allInnerTexts()).toEqual(users.map((u) => duration(u.seconds)));
  const measured = latencies.report?.users ?? [], slow = measured.slice(0, 15), orEmpty = (ms = -1) => (ms < 0 ? "" : ms);
  expect(await exported(page, "Latency", "username", "latency_ms_p50", "latency_ms_p95", "latency_ms_samples", "latency_ms_rating")).toEqual(
    measured.map((u) => [u.username, orEmpty(u.latency_ms?.p50), orEmpty(u.latency_ms?.p95), u.latency_ms?.samples, u.latency_ms?.rating]),
  );
  expect(await page.locator(".panel-latency .rating").allInnerTexts()).toEqual(slow.flatMap((u) => [u.latency_ms?.rating, u.latency_ms?.rating_p95]).map((rating) => expect.stringContaining(rating ?? "")));

  expect(await exported(page, "Parameters", "name", "value", "value_count", "unused_options")).toEqual(
    report.parameters_usage.flatMap((p) => p.values.map((v) => [p.name, /^\d+$/.test(v.value) ? Number(v.value) : v.value, v.count, p.unused_options ? JSON.stringify(p.unused_options) : "[]"])),
  );

  // The page asked for the period before as well; what it says of it is what REST says, if the template was used before it. The history of a
  // demo begins some days earlier, and not every template is used on its first days when these are a weekend.
  const start = at(addDays(from, -days), offset), delta = page.locator('[data-kpi="active-users"] .delta');
  const before = await demo.client.getTemplateInsights({ ...question, start_time: start, end_time: at(from, offset) });
  const { data_since: since = "" } = await demo.client.getDiagnosis(question);
  if (Date.parse(addDays(since, 1)) > Date.parse(start)) await expect(delta).toHaveText(/^no data before /);
  else await expect(delta).toHaveAttribute("title", "Period before: " + count(before.report?.active_users ?? -1));
}

test("of all templates, in Kathmandu, by day", async ({ page, demo }) => compare(page, demo, "", "Asia/Kathmandu", "+05:45", "day"));

test("of one template, in Phoenix, by week", async ({ page, demo }) => compare(page, demo, (await demo.client.listTemplates())[2]?.id ?? "", "America/Phoenix", "-07:00", "week"));

test("of another template, in UTC, by day", async ({ page, demo }) => compare(page, demo, (await demo.client.listTemplates())[5]?.id ?? "", "UTC", "Z", "day"));
