// The package of the client, packed and installed as others do it, and the example of its README against the demo.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "./program";

const source = fileURLToPath(new URL("../../gen/typescript", import.meta.url));
const compiler = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url));

test("the packed client", async ({ demo }) => {
  const folder = mkdtempSync(join(tmpdir(), "insights-client-"));
  const run = (command: string, args: string[], env: Record<string, string> = {}) =>
    execFileSync(command, args, { cwd: folder, encoding: "utf8", env: { ...process.env, ...env } });
  try {
    const [packed] = JSON.parse(run("npm", ["pack", source, "--json"])) as { filename: string; files: { path: string }[] }[];
    expect(packed?.files.map((file) => file.path).sort()).toEqual(["README.md", "index.d.ts", "index.js", "package.json"]);

    writeFileSync(join(folder, "package.json"), '{"type": "module"}');
    run("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed?.filename ?? ""]);
    const [, example = ""] = /^~~~js\n(.*?)^~~~$/ms.exec(readFileSync(join(folder, "node_modules/@template-insights/client/README.md"), "utf8")) ?? [];
    writeFileSync(join(folder, "example.mjs"), example);

    const lines = run(process.execPath, ["example.mjs"], { INSIGHTS_URL: demo.home, INSIGHTS_TOKEN: demo.owner }).trim().split("\n");
    expect(lines).toHaveLength(3 + 2); // users, templates
    for (const line of lines) expect(line).toMatch(/^\S.* \d+\.\d h$/);

    // What the example does the types allow, and no more.
    writeFileSync(join(folder, "node.d.ts"), "declare const process: { env: Record<string, string> };");
    writeFileSync(join(folder, "wrong.mjs"), example.replace("page_size", "page_seize"));
    const checked = spawnSync(compiler, ["--noEmit", "--allowJs", "--checkJs", "--strict", "--module", "nodenext", "--target", "esnext", "--lib", "esnext,dom", "--pretty", "false", "node.d.ts", "example.mjs", "wrong.mjs"], { cwd: folder, encoding: "utf8" });
    expect(checked.stdout.match(/^\S.*/gm)).toEqual([expect.stringMatching(/^wrong\.mjs.*page_seize/)]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
