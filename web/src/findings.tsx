// What explains the numbers, or the lack of them.

import type { Finding, Template } from "@template-insights/client";
import { forPeople, plural, words } from "./format";

const parts: Record<string, string> = { active_users: "active users", apps_usage: "application usage", user_activity: "user activity", user_latency: "latency", parameters_usage: "parameters" };

interface Props {
  findings: Finding[] | undefined; // undefined: not known yet
  zone: string;
  templates: Template[]; // that the numbers are about
  names: Map<string, string>; // of templates
}

export function Findings({ findings, zone, templates, names }: Props) {
  if (!findings) return <div class="findings" />; // nothing moves when there are some
  if (findings.length === 0) return null;
  return (
    <details class="findings">
      <summary>{plural(findings.length, "thing")} to know about these numbers</summary>
      <ul>
        {findings.map((f, i) => (
          <li key={f.reason + i} data-reason={f.reason}>
            <p><b>{words(f.reason)}</b> <small>{f.sections.map((s) => parts[s] ?? s).join(", ")}</small></p>
            <p>{forPeople(f.message, zone)} <span class="faint">{f.next_step}</span></p>
            <About ids={f.template_ids} templates={templates} names={names} />
          </li>
        ))}
      </ul>
    </details>
  );
}

/** About names the templates of a finding, unless it is about all of them. */
function About({ ids, templates, names }: Omit<Props, "findings" | "zone"> & { ids: string[] }) {
  const about = templates.filter((t) => ids.includes(t.id)).map((t) => names.get(t.id));
  if (about.length === 0 || about.length === templates.length) return null;
  const listed = about.length > 3 ? `${about.slice(0, 2).join(", ")} and ${about.length - 2} others` : about.join(", ");
  return <p class="about" title={about.join(", ")}>About {listed}.</p>;
}
