// The first screen of a phone has what matters, tiles fill their rows, and paper says what it shows.

import { expect, ready, signIn, test } from "./program";

test("on a phone the controls are one row, and the chart is on the first screen", async ({ page, demo }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await signIn(page, demo.home, demo.owner, "/?tz=UTC");
  const tops = await page.locator(".filters > *").evaluateAll((list) => list.map((e) => e.getBoundingClientRect().top));
  expect([...new Set(tops)]).toHaveLength(1);
  await expect(page.locator(".plot")).toBeInViewport({ ratio: 1 });
  await expect(page.locator(".as-of")).toBeVisible();

  // What is folded is at hand.
  await expect(page.getByLabel("Time zone")).toBeHidden();
  await page.locator("#filters summary").click();
  await page.getByLabel("Time zone").selectOption("Asia/Tokyo");
  await page.getByRole("button", { name: "Days", exact: true }).click();
  await page.getByLabel("Compare with before").uncheck();
  await page.getByLabel("Organization").selectOption({ index: 1 });
  await ready(page);
  expect(new URL(page.url()).search).toMatch(/^\?org=[0-9a-f-]{36}&tz=Asia\/Tokyo&interval=day&compare=off$/);
  await page.keyboard.press("Escape");
  await expect(page.getByLabel("Time zone")).toBeHidden();
  await page.setViewportSize({ width: 1024, height: 768 });
  await expect(page.getByLabel("Time zone")).toBeVisible();
});

test("five figures leave no hole", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  for (const [width, rows] of [[1440, 1], [1100, 2], [1024, 2], [700, 2], [640, 3], [390, 3]] as const) {
    await page.setViewportSize({ width, height: 900 });
    const right = await page.locator(".kpis").evaluate((e) => e.getBoundingClientRect().right);
    const ends = new Map<number, number>(); // of rows
    for (const box of await page.locator(".kpi").evaluateAll((list) => list.map((e) => e.getBoundingClientRect()))) ends.set(box.top, Math.max(ends.get(box.top) ?? 0, box.right));
    expect([...ends.values()].map(Math.round), `${width} px`).toEqual(Array<number>(rows).fill(Math.round(right)));
  }
});

test("panels are full", async ({ page, demo }) => {
  await page.route("**/api/v2/insights/diagnosis**", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()), findings: [] } });
  });
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  for (const width of [1440, 1024, 768, 390]) {
    await page.setViewportSize({ width, height: 900 });
    const strips = await page.locator(".panel").evaluateAll((panels) => panels.map((panel) => {
      const bottoms = [...panel.querySelectorAll(".plot, .figure, .note, .pages, td")].map((e) => e.getBoundingClientRect().bottom);
      return Math.round(panel.getBoundingClientRect().bottom - Math.max(...bottoms));
    }));
    expect(Math.max(...strips), `${width} px: ${strips.join(", ")}`).toBeLessThan(40);
    const above = await page.locator(".kpis").evaluate((e) => (e.parentElement?.querySelector(".panels")?.getBoundingClientRect().top ?? 0) - e.getBoundingClientRect().bottom);
    expect(above, `${width} px`).toBeLessThanOrEqual(16); // nothing has nothing to say
    const figures = await page.locator(".panel-apps .bars:not(.inner) > li > .bar .figure:nth-child(3)").evaluateAll((list) => list.map((e) => Math.round(e.getBoundingClientRect().right)));
    expect([...new Set(figures)], `${width} px`).toHaveLength(1);
  }
});

test("paper has a title line and no controls", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d&tz=Asia/Kathmandu");
  const title = page.locator(".on-paper");
  await expect(title).toBeHidden();
  await page.emulateMedia({ media: "print" });
  await expect(title).toBeVisible();
  await expect(title).toHaveText(/^All templates · \d+( \w+( \d{4})?)? – \d+ \w+ \d{4} · Asia\/Kathmandu · as of \d+ \w+ \d{4}, \d\d:\d\d$/);
  for (const control of await page.locator("button, select, input, .button, header.top").all()) await expect(control).toBeHidden();
  await expect(page.locator(".kpi").first()).toBeVisible();

  await page.emulateMedia({ media: "screen" });
  const name = await page.locator("#template option").nth(1).innerText();
  await page.locator("#template").selectOption({ index: 1 });
  await ready(page);
  await page.emulateMedia({ media: "print" });
  await expect(title).toContainText(name + " · ");
});
