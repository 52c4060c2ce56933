// Files hold all that a panel shows a part of, as REST answers it.

import type { Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";
import { expect, parseCSV, signIn, test } from "./program";

/** downloaded is what a link of the page leads to. */
async function downloaded(page: Page, name: string): Promise<{ file: string; bytes: Buffer }> {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name, exact: true }).click()]);
  return { file: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
}

/** unpack reads an archive by the list at its end. */
function unpack(zip: Buffer): Map<string, string> {
  const files = new Map<string, string>(), end = zip.lastIndexOf("PK\x05\x06");
  for (let at = zip.readUInt32LE(end + 16), n = zip.readUInt16LE(end + 10); n > 0; n--) {
    const [size, name, extra, comment] = [zip.readUInt32LE(at + 20), zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30), zip.readUInt16LE(at + 32)];
    const local = zip.readUInt32LE(at + 42), begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    files.set(zip.toString("utf8", at + 46, at + 46 + name), inflateRawSync(zip.subarray(begin, begin + size)).toString("utf8"));
    at += 46 + name + extra + comment;
  }
  return files;
}

/** whole is what REST answers for a window that is over, and the address of the page about it. */
function week() {
  const day = (ago: number) => new Date(Date.now() - ago * 86400_000).toISOString().slice(0, 10);
  return { address: `/?from=${day(8)}&to=${day(2)}&tz=UTC&interval=day`, question: { start_time: day(8) + "T00:00:00Z", end_time: day(1) + "T00:00:00Z", timezone: "UTC" } };
}

test("the file of user activity has everybody", async ({ page, demo }) => {
  const { address, question } = week();
  const users = (await demo.client.getUserActivity(question)).report?.users ?? [];
  expect(users.length).toBeGreaterThan(100);
  await signIn(page, demo.home, demo.owner, address);
  await expect(page.locator(".panel-activity .username")).toHaveCount(15);
  const { file, bytes } = await downloaded(page, "Export User activity as CSV");
  expect(file).toBe("user-activity.csv");
  const [columns = [], ...rows] = parseCSV(bytes.toString("utf8"));
  const of = (row: string[], column: string) => row[columns.indexOf(column)];
  expect(rows.map((row) => [of(row, "username"), of(row, "user_id"), Number(of(row, "seconds"))])).toEqual(users.map((u) => [u.username, u.user_id, u.seconds]));

  // What is searched for and the order are those of the screen.
  await page.goto(demo.home + address + "&search=ada-&users=username");
  await expect(page.locator(".panel-activity .username").first()).toContainText("ada-");
  const found = parseCSV((await downloaded(page, "Export User activity as CSV")).bytes.toString("utf8")).slice(1).map((row) => of(row, "username") ?? "");
  expect(found).toEqual(users.map((u) => u.username).filter((name) => name.startsWith("ada-")).sort());
});

test("all tables come in one archive", async ({ page, demo }) => {
  const { address, question } = week();
  await signIn(page, demo.home, demo.owner, address);
  const { file, bytes } = await downloaded(page, "Export all");
  expect(file).toBe("insights.zip");
  const files = unpack(bytes);
  expect([...files.keys()]).toEqual(["insights", "active-users", "template-usage", "template-days", "apps", "editors", "parameters", "user-activity", "user-apps", "user-latency"].map((name) => name + ".csv"));
  const [insights, activity, latencies] = [await demo.client.getTemplateInsights({ ...question, interval: "day" }), await demo.client.getUserActivity(question), await demo.client.getUserLatency(question)];
  const rows = (name: string) => parseCSV(files.get(name + ".csv") ?? "").length - 1;
  expect({ days: rows("active-users"), apps: rows("apps"), users: rows("user-activity"), latencies: rows("user-latency") }).toEqual({
    days: insights.interval_reports?.length, apps: (insights.report?.apps_usage.length ?? 0) + (insights.report?.unknown_usage ? 1 : 0), users: activity.report?.users.length, latencies: latencies.report?.users.length,
  });
});
