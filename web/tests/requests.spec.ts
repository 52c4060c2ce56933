// What a view costs: requests, and bytes on the wire.

import type { Request } from "@playwright/test";
import { expect, ready, signIn, test } from "./program";

test("a cold view is 15 requests and 120 kB at most", async ({ page, demo, browser }) => {
  await signIn(page, demo.home, demo.owner);
  const storageState = await page.context().storageState();
  // What is coming in is asked for once more where a minute begins meanwhile: then it is tried again.
  await expect(async () => {
    const visit = await (await browser.newContext({ storageState })).newPage(); // nothing is cached
    const requests: Request[] = [];
    visit.on("request", (request) => requests.push(request));
    await visit.goto(demo.home);
    await ready(visit);
    await visit.waitForLoadState("networkidle");
    const bytes = (await Promise.all(requests.map((request) => request.sizes()))).reduce((sum, s) => sum + s.requestHeadersSize + s.requestBodySize + s.responseHeadersSize + s.responseBodySize, 0);
    await visit.context().close();
    console.log(`${requests.length} requests, ${Math.round(bytes / 1000)} kB`);
    expect(requests.map((request) => new URL(request.url()).pathname)).toContain("/api/v2/insights/template-usage");
    expect(requests.length).toBeLessThanOrEqual(15); // one of them, of an owner, asks whether somebody decided on the privacy mode
    expect(bytes).toBeLessThanOrEqual(120_000);
  }).toPass({ timeout: 60_000 });
});
