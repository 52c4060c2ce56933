// What is not there says so, with a way on; and the console of the browser has nothing to say of a page that works.

import { randomUUID } from "node:crypto";
import { expect, ready, signIn, test } from "./program";

test("an address without a page says so and leads home", async ({ page, demo }) => {
  for (const path of ["/nonsense", "/templates/x/insights", "/templates", "/reports/2026/", "/templates/%20/insights"]) {
    const answer = await page.goto(demo.home + path);
    expect(answer?.status(), path).toBe(404);
    await expect(page.getByRole("heading", { level: 1 }), path).toHaveText("There is no such page");
  }
  await signIn(page, demo.home, demo.owner);
  await page.goto(demo.home + "/templates/x/insights");
  await expect(page.locator('[data-state="no-page"]')).toBeVisible();
  await expect(page.locator(".kpi")).toHaveCount(0);
  await page.getByRole("link", { name: "To the templates" }).click();
  await ready(page);
  expect(page.url()).toBe(demo.home + "/?tz=Europe/Berlin");
  await page.goto(`${demo.home}/templates/${randomUUID()}/insights`);
  await expect(page.locator('[data-state="not-found"]')).toContainText("no such template");
  expect((await page.request.get(demo.home + "/api/v2/nonsense")).headers()["content-type"]).toContain("json");
});

test("there is a picture for the tab", async ({ demo, request }) => {
  for (const [path, type] of [["/favicon.ico", "image/vnd.microsoft.icon"], ["/favicon.svg", "image/svg+xml"]] as const) {
    const answer = await request.get(demo.home + path);
    expect([answer.status(), answer.headers()["content-type"]]).toEqual([200, type]);
  }
});

test("nothing is asked in vain before one has signed in", async ({ page, demo }) => {
  const troubles: string[] = [], asked: string[] = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("requestfailed", (request) => troubles.push("failed: " + request.url()));
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(demo.home + "/?range=7d");
  await expect(page.getByLabel("Token")).toBeVisible();
  await page.waitForLoadState("networkidle");
  expect(asked.filter((path) => path.startsWith("/api/"))).toEqual([]);
  expect(asked.filter((path) => path === "/sign-in/session")).toHaveLength(1);
  // A cookie that no longer counts is none.
  await page.context().addCookies([{ name: "insights_session", value: "tia_old", url: demo.home }]);
  await page.reload();
  await expect(page.getByLabel("Token")).toBeVisible();
  await page.getByLabel("Token").fill(demo.owner);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await ready(page);
  expect(troubles).toEqual([]);
});

test("a server that is down is said once, and asked again with one button", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner);
  for (const trouble of ["a server that is not there", "a database that is not"]) {
    await page.route("**/api/**", (route) =>
      trouble === "a server that is not there" ? route.abort("connectionrefused") : route.fulfill({ status: 503, contentType: "application/json", body: '{"message":"The service cannot answer right now; try again."}' }));
    await page.keyboard.press(trouble === "a server that is not there" ? "w" : "f");
    await expect(page.locator(".outage")).toBeVisible();
    await expect(page.locator(".skeleton")).toHaveCount(0);
    await expect(page.getByRole("alert")).toHaveCount(1);
    await expect(page.getByRole("button", { name: "Try again" })).toHaveCount(1);
    await page.unroute("**/api/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await ready(page);
    await expect(page.getByRole("alert")).toHaveCount(0);
    await expect(page.locator(".panel-apps .bar").first()).toBeVisible();
    await expect(page.locator(".panel-activity .username").first()).toBeVisible();
    await expect(page.locator(".kpi .delta").first()).toBeVisible();
  }
});
