// What explains the numbers, or the lack of them.

import type { Finding } from "@template-insights/client";
import { forPeople, plural, words } from "./format";

const parts: Record<string, string> = { active_users: "active users", apps_usage: "application usage", user_activity: "user activity", user_latency: "latency", parameters_usage: "parameters" };

export function Findings({ findings, zone }: { findings: Finding[]; zone: string }) {
  if (findings.length === 0) return <div class="findings" />; // nothing moves when there are some
  return (
    <details class="findings">
      <summary>{plural(findings.length, "thing")} to know about these numbers</summary>
      <ul>
        {findings.map((f, i) => (
          <li key={f.reason + i} data-reason={f.reason}>
            <p><b>{words(f.reason)}</b> <small>{f.sections.map((s) => parts[s] ?? s).join(", ")}</small></p>
            <p>{forPeople(f.message, zone)} <span class="faint">{f.next_step}</span></p>
          </li>
        ))}
      </ul>
    </details>
  );
}
