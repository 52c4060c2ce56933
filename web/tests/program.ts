// The program that the tests try the page against: a real one, as it was built.

import { InsightsClient } from "@template-insights/client";
import { type Page, test as base, expect } from "@playwright/test";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../bin/insights", import.meta.url));
const addresses = ["--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-enable=false"];

/** Running is a server that listens. */
class Running {
  output = "";
  private ended = false;
  private readonly process: ChildProcess;

  constructor(args: string[]) {
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.process.stdout?.on("data", (text) => (this.output += text));
    this.process.stderr?.on("data", (text) => (this.output += text));
    this.process.on("exit", () => (this.ended = true));
  }

  /** wait returns what the groups of an expression match, once the program has written it. */
  async wait(expression: RegExp): Promise<string[]> {
    for (const deadline = Date.now() + 80_000; Date.now() < deadline; await new Promise((go) => setTimeout(go, 50))) {
      const found = expression.exec(this.output);
      if (found) return found.slice(1);
      if (this.ended) break;
    }
    throw new Error(`the program did not write ${expression}:\n${this.output}`);
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const exit = new Promise((done) => this.process.once("exit", done));
    this.process.kill("SIGTERM");
    await exit;
  }
}

/** Demo is the demo, with what it prints. */
export interface Demo {
  home: string;
  link: string;
  owner: string;
  admin: string;
  member: string;
  client: InsightsClient; // as the owner
}

/** Server is a server with nothing in it yet. */
export interface Server {
  home: string;
  token: (role: string) => string;
}

export const test = base.extend<{ violations: string[]; flags: string[]; server: Server }, { demo: Demo }>({
  flags: [[], { option: true }], // of the server with nothing in it
  demo: [
    async ({}, use) => {
      const running = new Running(["demo", ...addresses]);
      const [home = "", link = ""] = await running.wait(/page\s+(http:\/\/[\d.:]+)\/#token=(\S+)/);
      const [owner = "", admin = "", member = ""] = await running.wait(/owner\s+(tia_\S+)\s+template admin of \S+\s+(tia_\S+)\s+member.*?(tia_\S+)\n/);
      await use({ home, link, owner, admin, member, client: new InsightsClient({ server: home, token: owner }) });
      await running.stop();
    },
    { scope: "worker", timeout: 90_000 },
  ],
  server: async ({ flags }, use) => {
    const folder = mkdtempSync(join(tmpdir(), "insights-page-"));
    const database = "--database=sqlite:" + join(folder, "insights.db");
    const running = new Running(["serve", database, ...addresses, ...flags]);
    const [address = ""] = await running.wait(/msg=serving .*http=(\S+)/);
    await use({ home: "http://" + address, token: (role) => execFileSync(program, ["token", "create", database, "--role", role], { encoding: "utf8" }).trim() });
    await running.stop();
    rmSync(folder, { recursive: true });
  },
  // Whatever a test does: the page breaks no rule of its policy, throws nothing and calls nobody else.
  violations: [
    async ({ page }, use) => {
      const violations: string[] = [];
      await page.exposeFunction("violated", (what: string) => violations.push(what));
      await page.addInitScript(() => {
        addEventListener("securitypolicyviolation", (e) => (globalThis as unknown as { violated: (what: string) => void }).violated(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
      });
      page.on("pageerror", (error) => violations.push(String(error)));
      page.on("dialog", (dialog) => {
        violations.push("dialog " + dialog.message());
        void dialog.dismiss();
      });
      page.on("request", (request) => {
        const url = new URL(request.url());
        if (!["127.0.0.1", ""].includes(url.hostname) || !["http:", "blob:"].includes(url.protocol)) violations.push("request to " + request.url());
      });
      await use(violations);
      expect(violations).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** signIn signs in with a token and comes to an address. */
export async function signIn(page: Page, home: string, token: string, address = "/"): Promise<void> {
  await page.goto(home + address);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await ready(page);
}

/** ready waits until everything that was asked is answered. */
export async function ready(page: Page): Promise<void> {
  await expect(page.locator(".kpi, .state").first()).toBeVisible();
  await expect(page.locator('[aria-busy="true"]')).toHaveCount(0);
  await expect(page.locator(".skeleton")).toHaveCount(0);
}

/** showSame expects two pages to show the same. The demo goes on between two answers, so both ask again until they agree. */
export async function showSame(page: Page, other: Page): Promise<void> {
  await expect(async () => {
    for (const p of [page, other]) {
      await p.reload();
      await ready(p);
    }
    expect(await other.locator("main").innerText()).toBe(await page.locator("main").innerText());
  }).toPass({ timeout: 60_000 });
}

/** figure is the number that a tile of the summary shows. */
export const figure = (page: Page, id: string): Promise<string> => page.locator(`[data-kpi="${id}"] .value`).innerText();

/** parseCSV reads what the page exports. */
export function parseCSV(text: string): string[][] {
  const rows: string[][] = [[]];
  const field = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|$)/gy;
  for (let found = field.exec(text.replace(/^\uFEFF/, "")); found && found[0] !== ""; found = field.exec(text.replace(/^\uFEFF/, ""))) {
    const [, value = "", end] = found;
    rows.at(-1)?.push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (end === "\r\n") rows.push([]);
  }
  return rows.filter((row) => row.length > 0);
}
