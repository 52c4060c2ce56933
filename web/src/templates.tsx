// The list of templates: the way in.

import type { ListTemplateUsageResponse, Template, TemplateUsage } from "@template-insights/client";
import type { Answer } from "./api";
import { type Day, startOf } from "./calendar";
import { count, duration, hidden, shortDay } from "./format";
import { Delta } from "./kpis";
import { organizationOf } from "./names";
import { Failed, type Frame, Pages } from "./panel";
import { addressOf, zoneOf } from "./view";

const pageSize = 12;

const pagesOf = (templates: Template[]): number => Math.max(1, Math.ceil(templates.length / pageSize));

/** rowsOf are the templates of a page of the list; behind the last page there is no other. */
export function rowsOf(templates: Template[], page: number): Template[] {
  const end = Math.min(page, pagesOf(templates)) * pageSize;
  return templates.slice(end - pageSize, end);
}

interface Props extends Frame {
  templates: Template[];
  answer: Answer<ListTemplateUsageResponse>;
  compare: boolean; // with the period before
  since: Day | ""; // the first day that was recorded, if it is known
}

export function Templates(p: Props) {
  const page = Math.min(p.view.templatesPage, pagesOf(p.templates));
  return (
    <section class="panel panel-templates" aria-labelledby="templates-title" aria-busy={p.answer.loading} data-panel="templates">
      <header><div><h2 id="templates-title">Templates</h2><p class="hint">Choose one to see it alone.</p></div><div class="tools"><a class="button quiet" href={p.files.templates} download aria-label="Export Templates as CSV">CSV</a></div></header>
      <div class="body scroll" tabIndex={0} role="region" aria-label="List of templates">
        <table class="templates">
          <thead>
            <tr><th scope="col">Template</th><th scope="col" class="number">Active users</th><th scope="col">Change</th><th scope="col">Days</th><th scope="col">Most used</th></tr>
          </thead>
          <tbody>
            {rowsOf(p.templates, page).map((t) => <Row key={t.id} {...p} template={t} />)}
          </tbody>
        </table>
      </div>
      {p.answer.error !== undefined && <Failed error={p.answer.error} retry={p.answer.retry} />}
      <Pages page={page} size={pageSize} total={p.templates.length} label="Pages of templates" go={(templatesPage) => p.change({ templatesPage })} />
    </section>
  );
}

function Row({ template, names, view, change, answer, compare, since }: Props & { template: Template }) {
  const zone = zoneOf(view);
  const usage = answer.value?.report?.templates.find((t) => t.template_id === template.id);
  const users = usage?.suppressed ? undefined : usage?.active_users, before = usage?.previous_active_users, app = usage?.most_used_app;
  const target = { ...view, template: template.id, organization: "", usersPage: 1, latencyPage: 1 };
  const open = (e: MouseEvent) => {
    if (e.metaKey || e.ctrlKey || e.shiftKey || e.button !== 0) return;
    e.preventDefault();
    change({ template: template.id, organization: "" });
    scrollTo(0, 0);
  };
  return (
    <tr>
      <th scope="row">
        <a href={addressOf(target)} onClick={open} title={template.name}>{names.get(template.id)}</a>
        <small>{[template.name, organizationOf(template)].filter(Boolean).join(" · ")}</small>
      </th>
      <td class="number">{users !== undefined ? count(users) : usage ? <span class="faint">{hidden(answer.value?.floor)}</span> : answer.loading ? <span class="skeleton text" /> : <span title="No answer">–</span>}</td>
      <td>{compare && users !== undefined && before !== undefined && <Delta now={users} before={before} write={count} />}</td>
      <td><Spark usage={usage} zone={zone} since={since} /></td>
      <td>{app ? <>{app.display_name || app.slug} <span class="faint">{duration(app.seconds)}</span></> : <span class="faint">–</span>}</td>
    </tr>
  );
}

/** Spark draws users per day as small as a word, from the first day that was recorded, unless it is the only one. The figures are in the panel of the template. */
function Spark({ usage, zone, since }: { usage: TemplateUsage | undefined; zone: string; since: Day | "" }) {
  const days = (usage?.intervals ?? []).filter((d) => since === "" || Date.parse(d.end_time) > startOf(since, zone)), most = Math.max(1, ...days.map((d) => d.active_users)), width = 120, height = 24;
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
