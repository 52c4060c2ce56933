// Names are text, whatever they say: nothing of them runs, loads or breaks the page, or a spreadsheet.

import { InsightsClient, type Input, type ApplyCatalogRequest } from "@template-insights/client";
import type { Page } from "@playwright/test";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostile } from "./hostile_strings";
import { type Server, expect, parseCSV, ready, signIn, test } from "./program";

/** fill gives a server every string in every name that it keeps, each used a little. */
async function fill(server: Server): Promise<string[]> {
  const client = new InsightsClient({ server: server.home, token: server.token("control-plane") });
  const ids = hostile.map(() => ({ organization: randomUUID(), template: randomUUID(), version: randomUUID(), user: randomUUID(), workspace: randomUUID(), agent: randomUUID() }));
  const catalog: Required<Pick<Input<ApplyCatalogRequest>, "organizations" | "templates" | "template_versions" | "users" | "workspaces" | "agents" | "apps">> = {
    // Two organizations cannot have names that differ in their Unicode form alone.
    organizations: hostile.map((s, i) => ({ id: ids[i]?.organization ?? "", name: s === s.normalize("NFKC") ? s : "organization " + i, display_name: s })),
    templates: hostile.map((s, i) => ({ id: ids[i]?.template ?? "", organization_id: ids[i]?.organization ?? "", name: s, display_name: s, icon: s })),
    template_versions: hostile.map((s, i) => ({
      id: ids[i]?.version ?? "", template_id: ids[i]?.template ?? "", name: s,
      parameters: [{ name: s, display_name: s, type: "string", description: s, default_value: s, options: [{ name: s, description: s, value: s, icon: s }, { name: s, value: s + "2" }] }, { name: "plain " + i, type: "string" }],
    })),
    users: hostile.map((s, i) => ({ id: ids[i]?.user ?? "", username: s, avatar_url: s, organization_ids: [ids[i]?.organization ?? ""] })),
    workspaces: hostile.map((s, i) => ({ id: ids[i]?.workspace ?? "", owner_id: ids[i]?.user ?? "", template_id: ids[i]?.template ?? "", name: s })),
    agents: hostile.map((s, i) => ({ id: ids[i]?.agent ?? "", workspace_id: ids[i]?.workspace ?? "", name: s })),
    apps: hostile.map((s, i) => ({ agent_id: ids[i]?.agent ?? "", slug: s, display_name: s, icon: s })),
  };
  const applied = await client.applyCatalog(catalog);
  expect(applied.rejected).toEqual([]);
  const now = Date.now() - 60_000, time = (ago: number) => new Date(now - ago).toISOString();
  const stats = await client.reportStats({
    reports: hostile.map((s, i) => ({ agent_id: ids[i]?.agent ?? "", collected_at: time(0), session_counts: { ssh: 1, [s]: 1 }, connection_count: 1, connection_median_latency_ms: 20 + 3 * i, agent_version: s, derp_region: s })),
  });
  expect(stats.rejected).toEqual([]);
  const sessions = await client.reportAppSessions({
    sessions: hostile.map((s, i) => ({ agent_id: ids[i]?.agent ?? "", user_id: ids[i]?.user ?? "", access_method: "path", slug_or_port: s, started_at: time(120_000), ended_at: time(0) })),
  });
  expect(sessions.rejected).toEqual([]);
  const events = await client.reportEvents({
    events: hostile.map((s, i) => ({
      at: time(0),
      build: {
        id: randomUUID(), workspace_id: ids[i]?.workspace ?? "", template_version_id: ids[i]?.version ?? "", number: 1, transition: "start", status: "succeeded", created_at: time(30_000), started_at: time(20_000), finished_at: time(10_000),
        parameters: [{ name: s, value: s }, { name: "plain " + i, value: s }],
      },
    })),
  });
  expect(events.rejected).toEqual([]);
  return ids.map((id) => id.template);
}

/** harmless makes sure that names are text and that nothing is out of place. */
async function harmless(page: Page, where: string) {
  const found = await page.evaluate(() => ({
    scripts: document.scripts.length,
    foreign: [...document.querySelectorAll("iframe, object, embed, base, math, marquee, template, video, form[action], link:not([rel=icon], [rel=preload], [rel=service-desc], [rel=stylesheet]), img, style")].map((e) => e.outerHTML.slice(0, 100)),
    handlers: [...document.querySelectorAll("*")].flatMap((e) => [...e.attributes].filter((a) => a.name.startsWith("on") || (/^(href|src|action)$/.test(a.name) && !/^[/#]/.test(a.value))).map((a) => `${e.tagName} ${a.name}=${a.value.slice(0, 60)}`)),
    wide: document.documentElement.scrollWidth - innerWidth,
    out: [...document.querySelectorAll(".panel, .kpi, .top > .row")].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => `${e.className} ${e.scrollWidth}>${e.clientWidth}`),
  }));
  expect(found, where).toEqual({ scripts: 1, foreign: [], handlers: [], wide: 0, out: [] });
}

test("150 hostile names in every field", async ({ page, server }) => {
  test.setTimeout(400_000);
  expect(new Set(hostile).size).toBe(150);
  const templates = await fill(server);
  await signIn(page, server.home, server.token("owner"), "/?range=7d");
  const open = async (query: string) => {
    await page.goto(`${server.home}/?range=7d${query}`);
    await ready(page);
    await page.evaluate(() => document.querySelectorAll("details:not(.popover)").forEach((d) => ((d as HTMLDetailsElement).open = true)));
    await harmless(page, query);
  };
  const names: string[] = [];
  for (let n = 1; n <= 10; n++) {
    await open(`&users_page=${n}&latency_page=${n}&templates_page=${n}`);
    names.push(...(await page.locator(".panel-activity .username").evaluateAll((list) => list.map((e) => e.textContent ?? ""))));
  }
  expect(names.sort()).toEqual([...hostile].sort());
  const parameters = await page.locator(".panel-parameters h3").evaluateAll((list) => list.map((e) => e.firstChild?.textContent ?? ""));
  expect(hostile.filter((s) => !parameters.includes(s))).toEqual([]);
  await open("&table=apps,parameters,users");
  await page.setViewportSize({ width: 390, height: 900 });
  await open("");
  await open("&table=apps,parameters,users");
  await page.setViewportSize({ width: 1440, height: 900 });

  // Each is the title of its template, as it is.
  const insights = "**/api/v2/insights/**";
  await page.route(insights, (route) => route.abort());
  for (const [i, id] of templates.entries()) {
    await page.locator("#template").selectOption(id);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(hostile[i] ?? "", { useInnerText: false });
  }
  await page.unroute(insights);
  await page.reload();
  await ready(page);
  await harmless(page, "one template");
  // A name is searched for as it is, and a search is text as well.
  for (const s of hostile.filter((_, i) => i % 25 === 0)) {
    await open("&search=" + encodeURIComponent(s));
    await expect(page.getByLabel("Find people by name")).toHaveValue(s.slice(0, 100));
  }

  // No cell of an export is a formula.
  await open("");
  let cells = 0;
  for (const title of ["Application usage", "User activity", "Latency", "Parameters"]) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: `Export ${title} as CSV` }).click()]);
    const rows = parseCSV(readFileSync(await file.path(), "utf8"));
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      expect(row, row.join("|")).toHaveLength(rows[0]?.length ?? 0);
      for (const cell of row) expect(cell).not.toMatch(/^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20](?!\d*\.?\d+$)/);
      cells += row.length;
    }
  }
  console.log(`${hostile.length} names, ${cells} cells of exports`);
});
