// What is typed into a field stays there, however quickly or slowly.

import { expect, ready, signIn, test } from "./program";

test("no letter of a search is lost", async ({ page, demo }) => {
  await signIn(page, demo.home, demo.owner, "/?range=7d");
  const field = page.getByLabel("Find people by name");
  for (const delay of [0, 60, 150, 245, 265, 300, 350]) {
    await field.fill("");
    await expect.poll(() => new URL(page.url()).searchParams.get("search")).toBeNull();
    await field.pressSequentially("katherine-pine", { delay });
    await expect(field, `${delay} ms per key`).toHaveValue("katherine-pine");
    await expect.poll(() => new URL(page.url()).searchParams.get("search"), { message: `${delay} ms per key` }).toBe("katherine-pine");
    await expect(field).toHaveValue("katherine-pine");
  }
  await ready(page);
  await expect(page.locator(".panel-activity .username")).toHaveText(["katherine-pine"]);

  // What is pressed meanwhile is not undone by what was typed before.
  await field.fill("ada");
  await page.getByLabel("Order of user activity").selectOption("username");
  await expect.poll(() => new URL(page.url()).search).toBe("?range=7d&tz=Europe/Berlin&search=ada&users=username");
  // What changes the search elsewhere changes the field.
  await page.locator("h2").first().click();
  await page.keyboard.press("Escape");
  await expect(field).toHaveValue("");
});
