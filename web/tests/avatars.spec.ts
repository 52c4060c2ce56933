// People have initials, unless the server says from where pictures may come.

import { InsightsClient } from "@template-insights/client";
import { randomUUID } from "node:crypto";
import { type Server, expect, signIn, test } from "./program";

const pictures: Record<string, string> = {
  ann: "http://127.0.0.1:9/ann.png", ben: "http://127.0.0.1:10/ben.png", eve: "http://127.0.0.1:9/none.png", kim: "", zoe: "data:image/png;base64,AAAA",
};

/** fill makes people with a picture each who use a workspace. */
async function fill(server: Server): Promise<void> {
  const client = new InsightsClient({ server: server.home, token: server.token("control-plane") });
  const now = Date.now() - 60_000, organization = randomUUID(), template = randomUUID();
  const all = Object.entries(pictures).map(([username, avatar_url]) => ({ username, avatar_url, user: randomUUID(), workspace: randomUUID(), agent: randomUUID() }));
  const applied = await client.applyCatalog({
    organizations: [{ id: organization, name: "acme" }],
    templates: [{ id: template, organization_id: organization, name: "go" }],
    users: all.map(({ user, username, avatar_url }) => ({ id: user, username, avatar_url, organization_ids: [organization] })),
    workspaces: all.map(({ workspace, user, username }) => ({ id: workspace, owner_id: user, template_id: template, name: username })),
    agents: all.map(({ agent, workspace }) => ({ id: agent, workspace_id: workspace, name: "main" })),
  });
  expect(applied.rejected).toEqual([]);
  const stats = await client.reportStats({
    reports: all.map(({ agent }) => ({ agent_id: agent, collected_at: new Date(now).toISOString(), session_counts: { vscode: 1 }, connection_count: 1, connection_median_latency_ms: 20 })),
  });
  expect(stats.rejected).toEqual([]);
}

test("without hosts there are no pictures", async ({ page, server }) => {
  await fill(server);
  await signIn(page, server.home, server.token("owner"), "/?users=username");
  await expect(page.locator(".panel-activity span.avatar")).toHaveText(["A", "B", "E", "K", "Z"]);
  await expect(page.locator("img.avatar")).toHaveCount(0);
});

test.describe("with a host", () => {
  test.use({ flags: ["--avatar-hosts=127.0.0.1:9"] });

  test("pictures come from there alone", async ({ page, server }) => {
    await fill(server);
    const asked = new Set<string>();
    for (const port of [9, 10]) {
      await page.route(`http://127.0.0.1:${port}/**`, (route) => {
        asked.add(route.request().url());
        const body = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>';
        return route.fulfill(route.request().url().endsWith("/none.png") ? { status: 404 } : { contentType: "image/svg+xml", body });
      });
    }
    await signIn(page, server.home, server.token("owner"), "/?users=username");
    await expect(page.locator(".panel-activity img.avatar")).toHaveCount(1);
    await expect(page.locator(".panel-activity img.avatar")).toHaveAttribute("src", "http://127.0.0.1:9/ann.png");
    await expect(page.locator(".panel-activity span.avatar")).toHaveText(["B", "E", "K", "Z"]);
    expect([...asked].sort()).toEqual(["http://127.0.0.1:9/ann.png", "http://127.0.0.1:9/none.png"]);
  });
});
