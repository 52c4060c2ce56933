// The list of templates: the way in.

import type { GetTemplateInsightsResponse, Organization, Template } from "@template-insights/client";
import { client, serverNow, useAnswer } from "./api";
import { type Day, type Period, type Window, startOf, windowBefore, windowOf } from "./calendar";
import { count, duration, hidden, shortDay } from "./format";
import { Delta } from "./kpis";
import { type Frame, Pages } from "./panel";
import { addressOf, zoneOf } from "./view";

const pageSize = 12;

interface Props extends Frame {
  templates: Template[];
  organizations: Organization[];
  period: Period;
  compare: boolean; // with the period before
  since: Day | ""; // the first day that was recorded, if it is known
  wait: boolean; // until what is above is there
}

export function Templates(p: Props) {
  const pages = Math.max(1, Math.ceil(p.templates.length / pageSize)), page = Math.min(p.view.templatesPage, pages);
  return (
    <section class="panel panel-templates" aria-labelledby="templates-title" data-panel="templates">
      <header><div><h2 id="templates-title">Templates</h2><p class="hint">Choose one to see it alone.</p></div></header>
      <div class="body scroll" tabIndex={0} role="region" aria-label="List of templates">
        <table class="templates">
          <thead>
            <tr><th scope="col">Template</th><th scope="col" class="number">Active users</th><th scope="col">Change</th><th scope="col">Days</th><th scope="col">Most used</th></tr>
          </thead>
          <tbody>
            {p.templates.slice((page - 1) * pageSize, page * pageSize).map((t) => <Row key={t.id} {...p} template={t} />)}
          </tbody>
        </table>
      </div>
      <Pages page={page} size={pageSize} total={p.templates.length} label="Pages of templates" go={(templatesPage) => p.change({ templatesPage })} />
    </section>
  );
}

function Row({ template, names, organizations, view, change, period, compare, since, wait }: Props & { template: Template }) {
  const zone = zoneOf(view);
  const ask = (of: Window, asked: boolean, interval: string) => useAnswer(wait || !asked ? undefined : JSON.stringify([template.id, of, interval]), (signal) =>
    client.getTemplateInsights({ ...of, template_ids: [template.id], interval }, { signal }));
  const now = ask(windowOf(period, zone, serverNow()), true, "day"), then = ask(windowBefore(period, zone, serverNow()), compare, "");
  const report = now.value?.report, users = report?.suppressed ? undefined : report?.active_users;
  const app = [...(report?.apps_usage ?? [])].sort((a, b) => b.seconds - a.seconds)[0];
  const organization = organizations.find((o) => o.id === template.organization_id);
  const target = { ...view, template: template.id, organization: "", usersPage: 1, latencyPage: 1 };
  const open = (e: MouseEvent) => {
    if (e.metaKey || e.ctrlKey || e.shiftKey || e.button !== 0) return;
    e.preventDefault();
    change({ template: template.id, organization: "" });
    scrollTo(0, 0);
  };
  return (
    <tr aria-busy={now.loading} class={now.loading && now.value ? "stale" : ""}>
      <th scope="row">
        <a href={addressOf(target)} onClick={open} title={template.name}>{names.get(template.id)}</a>
        <small>{[template.name, organization?.display_name || organization?.name].filter(Boolean).join(" · ")}</small>
      </th>
      <td class="number">{users !== undefined ? count(users) : report ? <span class="faint">{hidden(now.value?.floor)}</span> : now.error !== undefined ? <span title="No answer">–</span> : <span class="skeleton text" />}</td>
      <td>{users !== undefined && then.value?.report && !then.value.report.suppressed && <Delta now={users} before={then.value.report.active_users} write={count} />}</td>
      <td><Spark answer={now.value} zone={zone} since={since} /></td>
      <td>{app && app.seconds > 0 ? <>{app.display_name || app.slug} <span class="faint">{duration(app.seconds)}</span></> : <span class="faint">–</span>}</td>
    </tr>
  );
}

/** Spark draws users per day as small as a word, from the first day that was recorded, unless it is the only one. The figures are in the panel of the template. */
function Spark({ answer, zone, since }: { answer: GetTemplateInsightsResponse | undefined; zone: string; since: Day | "" }) {
  const days = (answer?.interval_reports ?? []).filter((d) => since === "" || Date.parse(d.end_time) > startOf(since, zone)), most = Math.max(1, ...days.map((d) => d.active_users)), width = 120, height = 24;
  const first = days[0], step = width / Math.max(1, days.length);
  if (!first || days.length === 1) return <svg class="spark" width={width} height={height} aria-hidden="true" />;
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`Users per day from ${shortDay(first.start_time, zone)}, at most ${most}`}>
      {days.map((d, i) => d.active_users > 0 && (
        <rect key={i} x={i * step} width={Math.max(0.6, step * 0.72)} y={height - (height * d.active_users) / most} height={(height * d.active_users) / most} class={d.partial ? "partial" : ""} />
      ))}
    </svg>
  );
}
