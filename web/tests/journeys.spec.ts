// What people do with the page, in a real browser against a real demo.

import type { Page } from "@playwright/test";
import { expect, figure, ready, showSame, signIn, test } from "./program";

const template = (page: Page) => page.locator("#template");

test("a link signs in once", async ({ page, demo, browser }) => {
  await page.goto(`${demo.home}/#token=${demo.link}`);
  await ready(page);
  expect(page.url()).toBe(demo.home + "/?tz=Europe/Berlin");
  await expect(page.locator("#me summary")).not.toBeEmpty();
  const cookie = (await page.context().cookies()).find((c) => c.name === "insights_session");
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
  await page.reload();
  await ready(page);

  const later = await (await browser.newContext()).newPage();
  await later.goto(`${demo.home}/#token=${demo.link}`);
  await expect(later.getByRole("alert")).toContainText("works once");
  expect(later.url()).not.toContain("tia_");
});

test("sign in, choose, look closer, hand on a link, sign out", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  const all = await figure(page, "active-users");

  // A template from the list of them.
  const first = page.locator(".panel-templates tbody a").first();
  const name = await first.innerText();
  await first.click();
  await ready(page);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
  expect(new URL(page.url()).pathname).toMatch(/^\/templates\/[0-9a-f-]{36}\/insights$/);
  expect(Number(await figure(page, "active-users"))).toBeLessThan(Number(all));

  // Another range, zone and interval; no comparison.
  await page.locator("#range summary").click();
  await page.getByRole("button", { name: "14 days" }).click();
  await ready(page);
  await page.getByLabel("Time zone").selectOption("Pacific/Chatham");
  await page.getByRole("button", { name: "Weeks", exact: true }).click();
  await ready(page);
  await expect(page.locator(".delta").first()).toBeVisible();
  await page.getByLabel("Compare with before").uncheck();
  await expect(page.locator(".kpi .delta")).toHaveCount(0);
  await page.locator(".panel-users").getByRole("button", { name: "Table" }).click();
  await expect(page.locator(".panel-users tbody tr")).toHaveCount(2);
  await expect(page.locator(".panel-users tbody tr").first()).toContainText("Week of");

  // Who opens the link sees the same.
  await ready(page);
  const query = new URL(page.url()).searchParams;
  expect(Object.fromEntries(query)).toEqual({ range: "14d", tz: "Pacific/Chatham", interval: "week", compare: "off", table: "users" });
  const other = await page.context().newPage();
  await other.goto(page.url());
  await showSame(page, other);
  await other.close();

  // Back is where one was.
  await page.goBack();
  await expect(page.locator(".panel-users .plot")).toBeVisible();
  await page.goForward();
  await expect(page.locator(".panel-users table")).toBeVisible();

  await page.locator("#me summary").click();
  await expect(page.locator("#me .menu")).toContainText("view insights");
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByLabel("Token")).toBeVisible();
  await page.reload();
  await expect(page.getByLabel("Token")).toBeVisible();
  expect((await page.context().cookies()).filter((c) => c.name === "insights_session")).toEqual([]);
});

test("days that are chosen in the calendar", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  await page.locator("#range summary").click();
  const today = await page.getByLabel("To", { exact: true }).inputValue();
  const before = (days: number) => new Date(Date.parse(today) - days * 86400_000).toISOString().slice(0, 10);
  await page.getByLabel("From", { exact: true }).fill(before(4));
  await page.getByLabel("To", { exact: true }).fill(before(5));
  await expect(page.locator("#range").getByRole("status")).toHaveText("The first day is after the last.");
  await expect(page.getByRole("button", { name: "Show", exact: true })).toBeDisabled();
  await page.getByLabel("From", { exact: true }).fill(before(7));
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await ready(page);
  expect(new URL(page.url()).search).toBe(`?from=${before(7)}&to=${before(5)}&tz=Europe/Berlin`);
  await page.getByRole("button", { name: "Earlier" }).click();
  expect(new URL(page.url()).search).toBe(`?from=${before(10)}&to=${before(8)}&tz=Europe/Berlin`);
});

test("people in pages, found by name, looked at closely", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  const names = () => page.locator(".panel-activity .username").allInnerTexts();
  const first = await names();
  expect(first).toHaveLength(15);
  await page.getByLabel("Pages of user activity").getByRole("button", { name: "Next" }).click();
  await ready(page);
  const second = await names();
  expect(second.filter((name) => first.includes(name))).toEqual([]);
  expect(new URL(page.url()).search).toBe("?tz=Europe/Berlin&users_page=2");
  await page.reload();
  await ready(page);
  expect(await names()).toEqual(second);

  await page.getByLabel("Find people by name").fill("Ada-");
  await expect(page.locator(".panel-activity .username").first()).toContainText("ada-");
  await ready(page);
  expect((await names()).every((name) => name.startsWith("ada-"))).toBe(true);
  expect(new URL(page.url()).search).toBe("?tz=Europe/Berlin&search=Ada-");
  await page.locator(".panel-activity summary").first().click();
  await expect(page.locator(".panel-activity details[open] dl")).toContainText("Median active day");
  await page.getByLabel("Find people by name").fill("nobody at all");
  await expect(page.locator(".panel-activity")).toContainText("Nobody is called like");

  await page.getByLabel("Order of latency").selectOption("username");
  expect(new URL(page.url()).searchParams.get("latency")).toBe("username");
});

test("keys do what the mouse does", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  const search = () => new URL(page.url()).search;
  for (const [key, want] of [["w", "?range=7d&tz=Europe/Berlin"], ["ArrowLeft", /^\?from=.*&to=/], ["t", "?tz=Europe/Berlin"], ["x", "?tz=Europe/Berlin&compare=off"], ["i", "?tz=Europe/Berlin&interval=day&compare=off"], ["g", "?tz=Europe/Berlin&interval=day&compare=off&table=apps,parameters,users"], ["g", "?tz=Europe/Berlin&interval=day&compare=off"]] as const) {
    await page.keyboard.press(key);
    await expect.poll(search).toMatch(want instanceof RegExp ? want : new RegExp("^" + want.replaceAll(/[?.]/g, "\\$&") + "$"));
  }
  await page.keyboard.press("/");
  await expect(page.getByLabel("Find people by name")).toBeFocused();
  await page.keyboard.type("dtx"); // into the field, and nowhere else
  await expect.poll(search).toBe("?tz=Europe/Berlin&interval=day&compare=off&search=dtx");
  await page.locator("h2").first().click();
  await page.keyboard.press("Escape");
  await expect.poll(search).toBe("?tz=Europe/Berlin&interval=day&compare=off");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await page.locator(".plot").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await expect(page.locator(".readout b")).toBeVisible();
  expect(search()).toBe("?tz=Europe/Berlin&interval=day&compare=off");
});

test("whoever may see nothing is told what is missing", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.member);
  await expect(page.locator('[data-state="forbidden"]')).toContainText("view_insights");
  await expect(page.locator(".panel")).toHaveCount(0);
  const templates = await demo.client.listTemplates();
  await page.goto(`${demo.home}/templates/${templates[0]?.id}/insights`);
  await expect(page.locator('[data-state="forbidden"]')).toBeVisible();
});

test("whoever may see one template sees that one", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.admin);
  await expect(template(page).locator("option")).toHaveCount(1);
  const templates = await demo.client.listTemplates();
  const mine = await template(page).locator("option").last().getAttribute("value");
  const other = templates.find((t) => t.id !== mine);
  await page.goto(`${demo.home}/templates/${other?.id}/insights`);
  await expect(page.locator('[data-state="not-found"]')).toContainText("view_insights");
  await page.getByRole("button", { name: "Show all that you may see" }).click();
  await ready(page);
  await expect(page.locator(".kpi")).toHaveCount(5);
});

test("an empty panel says why and leads to the data", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?from=2026-01-01&to=2026-01-07".replaceAll("2026", String(new Date().getFullYear() - 1)));
  const empty = page.locator(".panel-users .state");
  await expect(empty).toHaveAttribute("data-reason", "out_of_range");
  await expect(empty).toContainText("Choose a window");
  await empty.getByRole("button", { name: "Show the days with data" }).click();
  await ready(page);
  expect(Number(await figure(page, "active-users"))).toBeGreaterThan(0);
});

test("a server that fails is an error with a way on, never a spinner", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  await page.route("**/api/v2/insights/**", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"message":"The service cannot answer right now; try again."}' }));
  await page.keyboard.press("w");
  await expect(page.getByRole("alert")).toContainText("cannot answer right now");
  await expect(page.locator(".skeleton")).toHaveCount(0);
  await page.unroute("**/api/v2/insights/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.locator(".panel-apps .bar").first()).toBeVisible();
  // What is wrong with one question is said where its answer would be.
  await page.route("**/api/v2/insights/user-latency**", (route) => route.fulfill({ status: 400, contentType: "application/json", body: '{"message":"Query parameters have invalid values."}' }));
  await page.keyboard.press("f");
  await expect(page.locator(".panel-latency").getByRole("alert")).toContainText("invalid values");
  await expect(page.locator(".outage")).toHaveCount(0);
  await page.unroute("**/api/v2/insights/user-latency**");
  await page.locator(".panel-latency").getByRole("button", { name: "Try again" }).click();
  await expect(page.locator(".panel-latency .username").first()).toBeVisible();
});

test("a session that ends asks to sign in and comes back to the same place", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  await page.context().clearCookies();
  await page.keyboard.press("f");
  await page.getByLabel("Token").fill(demo.owner);
  await page.keyboard.press("Enter");
  await ready(page);
  expect(new URL(page.url()).search).toBe("?range=14d&tz=Europe/Berlin");
});

test("a wrong token is refused in words", async ({ page, demo }) => {
  await page.goto(demo.home);
  await page.getByLabel("Token").fill("tia_wrong");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("alert")).toContainText("not valid");
});

test("the page is small, and says how quickly it is there", async ({ page, demo, browser }) => {
  await signIn(page, demo.home, demo.owner);
  const visit = await (await browser.newContext({ storageState: await page.context().storageState() })).newPage(); // nothing is cached
  const sizes: Promise<number>[] = [];
  visit.on("response", (response) => {
    if (!response.url().includes("/api/")) sizes.push(response.request().sizes().then((s) => s.responseBodySize));
  });
  const began = Date.now();
  await visit.goto(demo.home, { waitUntil: "commit" });
  // At every frame: an expectation looks after 100, 350 and 850 ms.
  await visit.waitForFunction(() => /\d/.test(document.querySelector('[data-kpi="active-users"] .value')?.textContent ?? ""));
  const first = Date.now() - began;
  await ready(visit);
  const bytes = (await Promise.all(sizes)).reduce((sum, n) => sum + n, 0);
  console.log(`${Math.round(bytes / 1024)} KiB; the first figures after ${first} ms, all of them after ${Date.now() - began} ms`);
  expect(bytes).toBeGreaterThan(10 * 1024);
  expect(bytes).toBeLessThan(250 * 1024);
  await visit.context().close();
});
