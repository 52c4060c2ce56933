// The rows of the list of templates: they say what each template says alone, come in one request, and are asked for again with the rest.

import { count, duration } from "../src/format";
import { expect, ready, signIn, test } from "./program";

const daysAgo = (n: number): string => new Date(Date.now() - n * 86400_000).toISOString().slice(0, 10);

test("rows say what each template says alone", async ({ page, demo }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  // Days that are over, so that nothing changes meanwhile.
  await signIn(page, demo.home, demo.owner, `/?from=${daysAgo(9)}&to=${daysAgo(3)}&tz=UTC`);
  expect(asked.filter((url) => url.includes("/insights/template-usage?"))).toHaveLength(1);
  expect(asked.filter((url) => url.includes("/insights/templates?") && url.includes("template_ids="))).toEqual([]);
  expect(asked.filter((url) => url.includes("/organizations"))).toEqual([]);

  const window = (from: number, to: number) => ({ start_time: daysAgo(from) + "T00:00:00Z", end_time: daysAgo(to) + "T00:00:00Z" });
  const want: string[][] = [];
  for (const { id } of (await demo.client.listTemplates()).slice(0, 12)) {
    const now = (await demo.client.getTemplateInsights({ ...window(9, 2), template_ids: [id] })).report;
    const before = (await demo.client.getTemplateInsights({ ...window(16, 9), template_ids: [id] })).report;
    const [app] = [...(now?.apps_usage ?? [])].sort((a, b) => b.seconds - a.seconds);
    want.push([count(now?.active_users ?? -1), "Period before: " + count(before?.active_users ?? -1), app && app.seconds > 0 ? `${app.display_name || app.slug} ${duration(app.seconds)}` : "–"]);
  }
  expect(want.filter(([users]) => users !== "0").length).toBeGreaterThan(3);
  const rows = await page.locator(".panel-templates tbody tr").evaluateAll((list) => list.map((row) => {
    const cell = (n: number) => row.querySelector(`:scope > :nth-child(${n})`);
    return [cell(2)?.textContent, cell(3)?.querySelector(".delta")?.getAttribute("title"), cell(5)?.textContent];
  }));
  expect(rows).toEqual(want);
});

test("rows refresh with the rest, and nothing fades", async ({ page, demo }) => {
  test.setTimeout(180_000);
  await page.clock.install();
  await signIn(page, demo.home, demo.owner, "/?tz=UTC");
  // The next minute may be of an hour that has not begun on the server: then it is tried once more.
  await expect(async () => {
    await page.goto(demo.home + "/?tz=UTC");
    await ready(page);
    const asked: string[] = [];
    let go = () => {};
    const held = new Promise<void>((done) => (go = done));
    await page.route("**/api/v2/insights/**", async (route) => {
      asked.push(new URL(route.request().url()).pathname);
      await held;
      await route.continue();
    });
    const opacities = () => page.locator("main *").evaluateAll((list) => list.map((e) => getComputedStyle(e).opacity));
    const before = await opacities();
    await page.clock.fastForward(60_000);
    await expect(page.locator(".panel-templates")).toHaveAttribute("aria-busy", "true");
    expect(await opacities()).toEqual(before);
    await expect(page.locator(".skeleton")).toHaveCount(0);
    go();
    await ready(page);
    await page.unroute("**/api/v2/insights/**");
    expect(asked.filter((path) => path.endsWith("/template-usage"))).toHaveLength(1);
    expect(asked).toContain("/api/v2/insights/user-activity");
    await expect(page.locator(".panel-templates tbody td:nth-child(2)").first()).toHaveText(/^[\d,]+$/);
  }).toPass({ timeout: 150_000 });
});

test("rows without an answer say so, with a way on", async ({ page, demo }) => {
  await page.route("**/api/v2/insights/template-usage?**", (route) => route.fulfill({ status: 400, contentType: "application/json", body: '{"message":"Query parameters have invalid values."}' }));
  await signIn(page, demo.home, demo.owner);
  const panel = page.locator(".panel-templates");
  await expect(panel.getByRole("alert")).toContainText("invalid values");
  await expect(panel.locator("tbody a").first()).toBeVisible();
  await page.unroute("**/api/v2/insights/template-usage?**");
  await panel.getByRole("button", { name: "Try again" }).click();
  await ready(page);
  await expect(panel.getByRole("alert")).toHaveCount(0);
  await expect(panel.locator("tbody td:nth-child(2)").first()).toHaveText(/^[\d,]+$/);
});
