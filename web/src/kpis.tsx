// The figures that sum it up, each beside that of the period before.

import type { GetTemplateInsightsResponse, GetUserActivityResponse, GetUserLatencyResponse } from "@template-insights/client";
import type { ComponentChildren } from "preact";
import type { Answer } from "./api";
import { count, duration, hidden, latency, shortDay } from "./format";
import { Rating } from "./people";

interface Props {
  insights: Answer<GetTemplateInsightsResponse>;
  activity: Answer<GetUserActivityResponse>;
  latencies: Answer<GetUserLatencyResponse>;
  since: string; // the first day that was recorded, if that is why nothing is compared
  before?: { insights: Answer<GetTemplateInsightsResponse>; activity: Answer<GetUserActivityResponse>; latencies: Answer<GetUserLatencyResponse> };
}

/** launches is how often apps were opened; where small groups are hidden, none may be any. */
function launches(a: GetTemplateInsightsResponse | undefined): number | undefined {
  if (!a) return undefined;
  const sum = [...(a.report?.apps_usage ?? []), ...(a.report?.unknown_usage ? [a.report.unknown_usage] : [])].reduce((sum, app) => sum + app.times_used, 0);
  return a.floor && sum === 0 ? undefined : sum;
}

const perUser = (i: GetTemplateInsightsResponse | undefined, a: GetUserActivityResponse | undefined): number | undefined =>
  i && a && Math.round((a.report?.total_seconds ?? 0) / Math.max(1, i.report?.active_users ?? 0));

export function Kpis({ insights, activity, latencies, before, since }: Props) {
  const missing = since === "" ? "" : "no data before " + shortDay(since, "UTC");
  const total = latencies.value?.report?.total_latency_ms;
  return (
    <dl class="kpis" aria-label="Summary">
      <Kpi id="active-users" name="Active users" of={insights} now={insights.value?.report?.active_users} before={before?.insights.value?.report?.active_users} missing={missing} write={count} hidden={insights.value?.report?.suppressed ? hidden(insights.value.floor) : ""} />
      <Kpi id="time" name="Connected hours" hint="An editor, terminal or app was open and connected. It is not working time." of={activity} now={activity.value?.report?.total_seconds} before={before?.activity.value?.report?.total_seconds} missing={missing} write={duration} />
      <Kpi id="time-per-user" name="Connected hours per user" of={activity} now={perUser(insights.value, activity.value)} before={before && perUser(before.insights.value, before.activity.value)} missing={missing} write={duration} />
      <Kpi id="launches" name="Launches" of={insights} now={launches(insights.value)} before={before && launches(before.insights.value)} missing={missing} write={count} hidden={insights.value?.floor && launches(insights.value) === undefined ? hidden(insights.value.floor) : ""} />
      <Kpi id="latency" name="Median latency" of={latencies} now={total?.p50} before={before?.latencies.value?.report?.total_latency_ms?.p50} missing={missing} write={latency}>
        {total && total.samples > 0 && <><Rating of={total.rating} /> <span class="faint">P95 {latency(total.p95)}</span></>}
      </Kpi>
    </dl>
  );
}

interface KpiProps {
  id: string;
  name: string;
  hint?: string; // what it means
  of: Answer<unknown>;
  now: number | undefined;
  before: number | undefined;
  missing: string; // why there is nothing to compare with; empty: there is
  write: (n: number) => string;
  hidden?: string; // why the figure is not told; empty: it is
  children?: ComponentChildren;
}

function Kpi({ id, name, hint, of, now, before, missing, write, hidden, children }: KpiProps) {
  if (hidden) return <div class="kpi" data-kpi={id}><dt title={hint}>{name}</dt><dd class="value">–</dd><dd class="more faint">{hidden}</dd></div>;
  return (
    <div class="kpi" data-kpi={id} aria-busy={of.loading}>
      <dt title={hint}>{name}</dt>
      <dd class="value">{now !== undefined ? write(now) : of.error !== undefined ? "–" : <span class="skeleton text" />}</dd>
      <dd class="more">{missing !== "" ? <span class="delta">{missing}</span> : now !== undefined && before !== undefined && <Delta now={now} before={before} write={write} />}{children}</dd>
    </div>
  );
}

/** Delta says by how much a figure changed, and not whether that is good: of people and hours nobody knows, and latency is rated. */
export function Delta({ now, before, write }: { now: number; before: number; write: (n: number) => string }) {
  if (before < 0 || now < 0) return null;
  const title = "Period before: " + write(before);
  if (before === 0) return <span class="delta" title={title}>{now === 0 ? "as before" : "new"}</span>;
  const percent = Math.round((100 * (now - before)) / before);
  if (percent > 400) return <span class="delta" title={title}>▲ × {Math.round(now / before)}</span>;
  return <span class="delta" title={title}>{percent > 0 ? "▲ +" : percent < 0 ? "▼ −" : ""}{Math.abs(percent)} %</span>;
}
