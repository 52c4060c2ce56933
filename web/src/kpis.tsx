// The figures that sum it up, each beside that of the period before.

import type { GetTemplateInsightsResponse, GetUserActivityResponse, GetUserLatencyResponse } from "@template-insights/client";
import type { ComponentChildren } from "preact";
import type { Answer } from "./api";
import { count, duration, hidden, latency } from "./format";
import { Rating } from "./people";

interface Props {
  insights: Answer<GetTemplateInsightsResponse>;
  activity: Answer<GetUserActivityResponse>;
  latencies: Answer<GetUserLatencyResponse>;
  before?: { insights: Answer<GetTemplateInsightsResponse>; activity: Answer<GetUserActivityResponse>; latencies: Answer<GetUserLatencyResponse> };
}

const launches = (a: GetTemplateInsightsResponse | undefined): number | undefined =>
  a && [...(a.report?.apps_usage ?? []), ...(a.report?.unknown_usage ? [a.report.unknown_usage] : [])].reduce((sum, app) => sum + app.times_used, 0);

const perUser = (i: GetTemplateInsightsResponse | undefined, a: GetUserActivityResponse | undefined): number | undefined =>
  i && a && Math.round((a.report?.total_seconds ?? 0) / Math.max(1, i.report?.active_users ?? 0));

export function Kpis({ insights, activity, latencies, before }: Props) {
  const total = latencies.value?.report?.total_latency_ms;
  return (
    <dl class="kpis" aria-label="Summary">
      <Kpi id="active-users" name="Active users" of={insights} now={insights.value?.report?.active_users} before={before?.insights.value?.report?.active_users} write={count} hidden={insights.value?.report?.suppressed ? hidden(insights.value.floor) : ""} />
      <Kpi id="time" name="Time used" of={activity} now={activity.value?.report?.total_seconds} before={before?.activity.value?.report?.total_seconds} write={duration} />
      <Kpi id="time-per-user" name="Time per active user" of={activity} now={perUser(insights.value, activity.value)} before={before && perUser(before.insights.value, before.activity.value)} write={duration} />
      <Kpi id="launches" name="Launches" of={insights} now={launches(insights.value)} before={before && launches(before.insights.value)} write={count} hidden={insights.value?.floor && launches(insights.value) === 0 ? hidden(insights.value.floor) : ""} />
      <Kpi id="latency" name="Median latency" of={latencies} now={total?.p50} before={before?.latencies.value?.report?.total_latency_ms?.p50} write={latency} lower>
        {total && total.samples > 0 && <><Rating of={total.rating} /> <span class="faint">P95 {latency(total.p95)}</span></>}
      </Kpi>
    </dl>
  );
}

interface KpiProps {
  id: string;
  name: string;
  of: Answer<unknown>;
  now: number | undefined;
  before: number | undefined;
  write: (n: number) => string;
  lower?: boolean; // is better
  hidden?: string; // why the figure is not told; empty: it is
  children?: ComponentChildren;
}

function Kpi({ id, name, of, now, before, write, lower, hidden, children }: KpiProps) {
  if (hidden) return <div class="kpi" data-kpi={id}><dt>{name}</dt><dd class="value">–</dd><dd class="more faint">{hidden}</dd></div>;
  return (
    <div class={"kpi" + (of.loading ? " stale" : "")} data-kpi={id} aria-busy={of.loading}>
      <dt>{name}</dt>
      <dd class="value">{now !== undefined ? write(now) : of.error !== undefined ? "–" : <span class="skeleton text" />}</dd>
      <dd class="more">{now !== undefined && before !== undefined && <Delta now={now} before={before} write={write} lower={lower === true} />}{children}</dd>
    </div>
  );
}

/** Delta says by how much a figure changed. */
export function Delta({ now, before, write, lower }: { now: number; before: number; write: (n: number) => string; lower: boolean }) {
  if (before < 0 || now < 0) return null;
  const title = "Period before: " + write(before);
  if (before === 0) return <span class="delta" title={title}>{now === 0 ? "as before" : "new"}</span>;
  const percent = Math.round((100 * (now - before)) / before);
  if (percent > 400) return <span class={"delta" + (lower ? " worse" : " better")} title={title}>▲ × {Math.round(now / before)}</span>;
  const kind = percent === 0 ? "" : percent > 0 === lower ? " worse" : " better";
  return <span class={"delta" + kind} title={title}>{percent > 0 ? "▲ +" : percent < 0 ? "▼ −" : ""}{Math.abs(percent)} %</span>;
}
