import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const chromium = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
if (!chromium) throw new Error("the tests of the page need Chromium: install it, or name it in the environment as CHROMIUM");

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  workers: 2, // each with a demo of its own
  timeout: 90_000,
  expect: { timeout: 15_000 },
  forbidOnly: true,
  reporter: "list",
  use: {
    viewport: { width: 1440, height: 900 },
    timezoneId: "Europe/Berlin",
    locale: "en-GB",
    trace: "retain-on-failure",
    launchOptions: { executablePath: chromium, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] },
  },
});
