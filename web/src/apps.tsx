// What people work with: families of editors and the apps of workspaces.

import type { AppUsage, GetTemplateInsightsResponse, TemplateInsightsReport } from "@template-insights/client";
import type { Answer } from "./api";
import { count, duration, plural, share, words } from "./format";
import { type Frame, Panel, type Sheet, Table } from "./panel";

interface Props extends Frame {
  answer: Answer<GetTemplateInsightsResponse>;
}

/** used are the apps with any use, most used first. */
const used = (r: TemplateInsightsReport | undefined): AppUsage[] =>
  [...(r?.apps_usage ?? []), ...(r?.unknown_usage ? [r.unknown_usage] : [])].filter((a) => a.seconds > 0).sort((a, b) => b.seconds - a.seconds);

const nameOf = (a: AppUsage): string => a.display_name || (a.family === "unknown" ? "Other editors" : a.slug);

const kindOf = (a: AppUsage): string => (a.type === "builtin" ? "built in" : "app");

function sheet(a: GetTemplateInsightsResponse): Sheet {
  const apps = used(a.report), total = apps.reduce((sum, app) => sum + app.seconds, 0);
  return {
    columns: ["App", "Slug", "Kind", "Editor", "Seconds", "Share of all apps", "Launches"],
    rows: apps.flatMap((app) => [
      [nameOf(app), app.slug, kindOf(app), "", app.seconds, share(app.seconds, total), app.times_used],
      ...(app.editors ?? []).map((e) => [nameOf(app), app.slug, kindOf(app), e.name, e.seconds, share(e.seconds, total), e.times_used]),
    ]),
  };
}

export function Apps(p: Props) {
  return (
    <Panel {...p} id="apps" title="Application usage" hint="Time with each app open and connected. Two apps in the same minute count both." section="apps_usage" chart file={p.files.apps} empty={(a) => used(a.report).length === 0}>
      {(a, table) => (table ? <Table sheet={sheet(a)} label="Application usage" /> : <Bars report={a.report} floor={a.floor} />)}
    </Panel>
  );
}

function Bars({ report, floor }: { report: TemplateInsightsReport | undefined; floor: number | undefined }) {
  const apps = used(report), total = apps.reduce((sum, app) => sum + app.seconds, 0), most = apps[0]?.seconds ?? 1;
  const idle = (report?.apps_usage ?? []).filter((a) => a.seconds === 0).map(nameOf);
  return (
    <>
      <ul class="bars">
        {apps.map((app) => (
          <li key={app.type + app.slug + "\n" + app.display_name + "\n" + app.icon}>
            <Bar name={nameOf(app)} note={app.type === "app" ? "app" : ""} seconds={app.seconds} launches={app.times_used} total={total} most={most} />
            {(app.editors ?? []).length > 1 && (
              <details>
                <summary>{plural((app.editors ?? []).length, "editor")}</summary>
                <ul class="bars inner">
                  {[...(app.editors ?? [])].sort((a, b) => b.seconds - a.seconds).map((e) => (
                    <li key={e.name}><Bar name={words(e.display_name)} note="" seconds={e.seconds} launches={e.times_used} total={app.seconds} most={most} /></li>
                  ))}
                </ul>
              </details>
            )}
          </li>
        ))}
      </ul>
      {idle.length > 0 && <p class="note">{floor ? `Hidden, because fewer than ${floor} people used them` : "Not used"}: {idle.join(", ")}.</p>}
    </>
  );
}

function Bar({ name, note, seconds, launches, total, most }: { name: string; note: string; seconds: number; launches: number; total: number; most: number }) {
  return (
    <div class="bar">
      <span class="name" title={name}>{name}{note !== "" && <small>{note}</small>}</span>
      <span class="track"><span class="fill" style={{ width: (100 * seconds) / most + "%" }} /></span>
      <span class="figure" title={count(seconds) + " s"}>{duration(seconds)}</span>
      <span class="figure faint">{share(seconds, total)}</span>
      <span class="figure faint">{plural(launches, "launch", "launches")}</span>
    </div>
  );
}
