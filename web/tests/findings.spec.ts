// What explains the numbers says of which templates it does, and does not contradict them.

import { InsightsClient } from "@template-insights/client";
import { randomUUID } from "node:crypto";
import { type Server, expect, figure, ready, signIn, test } from "./program";

/** fill makes six templates with a workspace each: the first is used now, the others were three weeks ago. It returns their ids. */
async function fill(server: Server): Promise<string[]> {
  const client = new InsightsClient({ server: server.home, token: server.token("control-plane") });
  const now = Date.now() - 60_000, time = (ago: number) => new Date(now - ago).toISOString();
  const organization = randomUUID(), user = randomUUID();
  const all = Array.from({ length: 6 }, (_, i) => ({ name: "t" + i, template: randomUUID(), workspace: randomUUID(), agent: randomUUID() }));
  const applied = await client.applyCatalog({
    organizations: [{ id: organization, name: "acme" }],
    users: [{ id: user, username: "ann", organization_ids: [organization] }],
    templates: all.map(({ template, name }) => ({ id: template, organization_id: organization, name, display_name: "Template " + name })),
    workspaces: all.map(({ template, workspace, name }) => ({ id: workspace, owner_id: user, template_id: template, name })),
    agents: all.map(({ agent, workspace }) => ({ id: agent, workspace_id: workspace, name: "main" })),
  });
  expect(applied.rejected).toEqual([]);
  const stats = await client.reportStats({
    reports: all.map(({ agent }, i) => ({ agent_id: agent, collected_at: time(i === 0 ? 0 : 21 * 86400_000), session_counts: { vscode: 1 }, connection_count: 1, connection_median_latency_ms: 20 })),
  });
  expect(stats.rejected).toEqual([]);
  return all.map(({ template }) => template);
}

test("findings about a part of the templates name them", async ({ page, server }) => {
  const templates = await fill(server);
  await signIn(page, server.home, server.token("owner"), "/?range=7d");
  expect(await figure(page, "active-users")).toBe("1");
  await page.locator(".findings summary").click();
  const unused = page.locator('.findings [data-reason="out_of_range"]').first();
  await expect(unused).toContainText("Of 5 of 6 templates: there is no usage in the window");
  await expect(unused.locator(".about")).toHaveText("About Template t1, Template t2 and 3 others.");
  await expect(unused.locator(".about")).toHaveAttribute("title", /^Template t1, .*Template t5$/);
  await expect(page.locator('.findings [data-reason="no_builds"]')).toContainText("No build that started");
  await expect(page.locator('.findings [data-reason="no_builds"] .about')).toHaveCount(0); // it is about all

  await page.goto(`${server.home}/templates/${templates[1]}/insights?range=7d`);
  await ready(page);
  await expect(page.locator(".panel-users .state")).toContainText("There is no usage in the window");
  await page.locator(".findings summary").click();
  await expect(page.locator(".findings .about")).toHaveCount(0);
});
