// Who opens a link sees what was seen where it was copied, wherever they are.

import { expect, ready, showSame, signIn, test } from "./program";

test("the zone is in the address before anything is chosen", async ({ page, demo, browser }) => {
  await signIn(page, demo.home, demo.owner);
  expect(page.url()).toBe(demo.home + "/?tz=Europe/Berlin");
  await page.goto(demo.home + "/?from=2020-01-01&to=2020-01-02");
  await ready(page);
  expect(page.url()).toBe(demo.home + "/?from=2020-01-01&to=2020-01-02&tz=Europe/Berlin");

  await page.keyboard.press("e");
  await ready(page);
  expect(page.url()).toBe(demo.home + "/?range=yesterday&tz=Europe/Berlin");
  const elsewhere = await browser.newContext({ timezoneId: "America/Phoenix", storageState: await page.context().storageState() });
  const other = await elsewhere.newPage();
  await other.goto(page.url());
  await showSame(page, other);
  await expect(other.getByLabel("Time zone")).toHaveValue("Europe/Berlin");
  await elsewhere.close();
});
