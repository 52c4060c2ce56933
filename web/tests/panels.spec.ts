// What is unusual is said in words: accounts that are left out, values that are no longer offered, secrets, editors of a family, measurements that are missing.

import { InsightsClient } from "@template-insights/client";
import { randomUUID } from "node:crypto";
import { type Server, expect, signIn, test } from "./program";

const people = ["ann", "ben", "eve", "zoe"];

/** fill makes four people with a workspace each of a template that is older than five weeks. */
async function fill(server: Server): Promise<void> {
  const client = new InsightsClient({ server: server.home, token: server.token("control-plane") });
  const now = Date.now() - 60_000, time = (ago: number) => new Date(now - ago).toISOString();
  const organization = randomUUID(), template = randomUUID(), versions = [randomUUID(), randomUUID()];
  const account = (kind: string) => (username: string) => ({ username, kind, user: randomUUID(), workspace: randomUUID(), agent: randomUUID() });
  const all = people.map(account("human")), machines = [...["ci", "bot"].map(account("service")), ...["prebuilds"].map(account("system"))];
  const branches = Array.from({ length: 53 }, () => randomUUID());
  const option = (value: string) => ({ name: value.toUpperCase(), value });
  const parameters = (values: string[]) => [
    { name: "region", display_name: "Region", type: "string", default_value: "eu", options: values.map(option) },
    { name: "key", type: "string", sensitive: true },
    { name: "remote", type: "string" },
    { name: "branch", type: "string" },
  ];
  const applied = await client.applyCatalog({
    organizations: [{ id: organization, name: "acme" }],
    templates: [{ id: template, organization_id: organization, name: "go", created_at: time(40 * 86400_000) }],
    template_versions: [
      { id: versions[0] ?? "", template_id: template, name: "v1", created_at: time(30 * 86400_000), parameters: parameters(["eu", "us", "asia", "moon"]) },
      { id: versions[1] ?? "", template_id: template, name: "v2", created_at: time(86400_000), parameters: parameters(["eu", "us", "asia"]) },
    ],
    users: [...all, ...machines].map(({ user, username, kind }) => ({ id: user, username, kind, organization_ids: [organization] })),
    workspaces: [
      ...[...all, ...machines].map(({ workspace, user, username }) => ({ id: workspace, owner_id: user, template_id: template, name: username })),
      ...branches.map((id, i) => ({ id, owner_id: all[0]?.user ?? "", template_id: template, name: "branch" + i })),
    ],
    agents: [...all, ...machines].map(({ agent, workspace }) => ({ id: agent, workspace_id: workspace, name: "main" })),
  });
  expect(applied.rejected).toEqual([]);
  const latencies = [100, 200, 400, 0], editors = ["vscode", "cursor", "vscode", "vscode"];
  const stats = await client.reportStats({
    reports: [...all, ...machines].map(({ agent }, i) => ({ agent_id: agent, collected_at: time(0), session_counts: { [editors[i] ?? "vscode"]: 1 }, connection_count: 1, connection_median_latency_ms: latencies[i] ?? 0 })),
  });
  expect(stats.rejected).toEqual([]);
  const regions = ["eu", "eu", "us", "moon"];
  const started = (workspace: string, parameters: { name: string; value: string }[]) => ({
    at: time(0),
    build: {
      id: randomUUID(), workspace_id: workspace, template_version_id: versions[0] ?? "", number: 1, transition: "start", status: "succeeded", created_at: time(30_000), started_at: time(20_000), finished_at: time(10_000),
      parameters,
    },
  });
  const events = await client.reportEvents({
    events: [
      ...all.map(({ workspace }, i) => started(workspace, [{ name: "region", value: regions[i] ?? "" }, { name: "key", value: "hunter2" }, { name: "remote", value: `https://${i}:hunter2@acme.io` }])),
      ...branches.map((workspace, i) => started(workspace, [{ name: "branch", value: "branch" + i }])),
    ],
  });
  expect(events.rejected).toEqual([]);
}

test("what is unusual is said in words", async ({ page, server }) => {
  await fill(server);
  await signIn(page, server.home, server.token("owner"));

  const region = page.locator(".panel-parameters article").filter({ hasText: "region" });
  await expect(region.locator(".bar").filter({ hasText: "EU" })).toContainText("default");
  await expect(region.locator(".bar").filter({ hasText: "moon" })).toContainText("no longer offered");
  await expect(region).toContainText("Nobody chose ASIA.");
  await expect(page.locator(".panel-parameters")).toContainText("(not shown)");
  await expect(page.locator(".panel-parameters article").filter({ hasText: "remote" }).locator(".bar")).toHaveText([/\(hidden\).*looks like a credential.*4.*100 %/]);
  const branch = page.locator(".panel-parameters article").filter({ hasText: "branch" });
  await expect(branch.locator(".bar").last()).toContainText("45 other values");
  await page.locator(".panel-parameters").getByRole("button", { name: "Table" }).click();
  await expect(page.locator(".panel-parameters tbody tr").filter({ hasText: "branch" })).toHaveCount(51);
  await expect(page.locator(".panel-parameters tbody tr").filter({ hasText: "(other)" })).toContainText("3");
  await expect(page.locator("main")).not.toContainText("hunter2");
  await page.locator(".panel-parameters").getByRole("button", { name: "Table" }).click();

  const code = page.locator(".panel-apps .bars > li").first();
  await expect(code).toContainText("Visual Studio Code");
  await code.getByText("2 editors").click();
  await expect(code.locator(".inner .bar")).toHaveText([/VS Code.*3 min.*75 %/, /Cursor.*1 min.*25 %/]);
  await expect(page.locator(".panel-apps .note")).toContainText("Not used: ");

  expect(await page.locator(".panel-latency tbody tr").allInnerTexts()).toEqual([/eve[^]*poor/, /ben[^]*moderate/, /ann[^]*good/, /zoe[^]*–[^]*unknown/].map((row) => expect.stringMatching(row)));
  await page.locator(".findings summary").click();
  await expect(page.locator('.findings [data-reason="no_latency_samples"]')).toContainText("1 of 4");

  await expect(page.locator(".panel-users .hint")).toContainText("In weeks, because it is older than 5 weeks");
  await expect(page.locator(".panel-users .one")).toContainText("not complete"); // the only week that was recorded
  await expect(page.locator(".panel-users .note")).toHaveText("Left out: 2 service accounts, 1 system account.");
  await page.locator(".panel-users").getByRole("button", { name: "Table" }).click();
  await expect(page.locator(".panel-users .note")).toHaveText("Left out: 2 service accounts, 1 system account.");
  await expect(page.locator(".panel-users tbody tr").last()).toContainText("not complete");
  await page.getByRole("button", { name: "Earlier" }).click();
  await expect(page.locator(".panel-activity .state")).toHaveAttribute("data-reason", "out_of_range");
});

test("after an import from Coder the page says whom it counts besides", async ({ page, server }) => {
  await fill(server);
  const finding = { sections: ["active_users"], reason: "differs_from_coder", template_ids: [], affected: 0, total: 0, first_at: new Date().toISOString(), message: "Coder counts more.", next_step: "Ask." };
  let hides = {};
  await page.route("**/api/v2/insights/diagnosis**", async (route) => {
    const response = await route.fetch(), body = await response.json();
    await route.fulfill({ response, json: { ...body, findings: [...body.findings, finding] } });
  });
  await page.route("**/api/v2/insights/templates?**", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), ...hides } });
  });
  const note = page.locator(".panel-users .note");
  await signIn(page, server.home, server.token("owner"));
  await expect(note).toHaveText("Left out: 2 service accounts, 1 system account. Coder counts them too: 3 more than here. Prebuilds belong to a system account.");
  for (const [others, says] of [
    [[{ actor: "service", actors: 5, seconds: 60 }], "Left out: at least 5 service accounts. Coder counts them too: at least 5 more than here."],
    [undefined, "Coder also counts service and system accounts and whatever else is hidden here."],
  ] as const) {
    hides = { collection_mode: "pseudonym", other_actors: others };
    await page.reload();
    await expect(note).toHaveText(says);
  }
});
