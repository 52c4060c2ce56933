// How many people were active in each interval, beside the period before.

import type { DefaultInterval, GetTemplateInsightsResponse, TemplateInsightsIntervalReport } from "@template-insights/client";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Answer } from "./api";
import { type Day, type Period, intervalOf, previous, startOf, wholeWeeks } from "./calendar";
import { count, hidden, longDay, plural, shortDay } from "./format";
import { type Frame, Panel, type Sheet, Table } from "./panel";
import { zoneOf } from "./view";

interface Props extends Frame {
  answer: Answer<GetTemplateInsightsResponse>;
  before: Answer<GetTemplateInsightsResponse>;
  period: Period;
  since: Day | ""; // the first day that was recorded, if it is known
}

/** why explains an interval that nobody chose. */
function why(chosen: string, period: Period, suits: DefaultInterval | null | undefined): string {
  if ((chosen === "week" || suits?.interval === "week") && chosen !== "day" && !wholeWeeks(period)) return " In days, because the range is not whole weeks.";
  if (chosen !== "" || intervalOf(chosen, period) === "day") return "";
  switch (suits?.reason) {
    case "window_not_whole_weeks": return " In days, because the range is not whole weeks.";
    case "younger_than_5_weeks": return " In days, because it is younger than 5 weeks.";
    case "5_weeks_or_older": return " In weeks, because it is older than 5 weeks: weekends would hide the trend.";
    case "age_unknown": return " In days, because its age is not known.";
    default: return "";
  }
}

export function ActiveUsers(p: Props) {
  const zone = zoneOf(p.view);
  const now = p.answer.value?.interval_reports, then = p.view.compare ? p.before.value?.interval_reports : undefined;
  const pairs = useMemo(() => recorded(now ?? [], then ?? [], p.since === "" ? 0 : startOf(p.since, zone)), [now, then, p.since, zone]);
  const missing = p.since !== "" && (p.since > p.period.from || (p.view.compare && p.since > previous(p.period).from)) ? ` No data before ${shortDay(p.since, "UTC")}.` : "";
  return (
    <Panel
      {...p} id="users" title="Active users" hint={"People who used a workspace." + why(p.view.interval, p.period, p.answer.value?.default_interval) + missing} section="active_users" chart file={p.files.users}
      empty={(a) => a.report?.active_users === 0}
    >
      {(a, table) => (
        <>
          {table ? <Table sheet={shown(pairs, zone, a.floor)} label="Active users" />
            : pairs.length === 1 ? <p class="one"><Reading of={pairs[0] as Pair} zone={zone} floor={a.floor} /></p>
            : <Chart pairs={pairs} zone={zone} floor={a.floor} />}
          <LeftOut answer={a} unlikeCoder={p.findings.some((f) => f.reason === "differs_from_coder")} />
        </>
      )}
    </Panel>
  );
}

const actors: Record<string, [string, string]> = { person: ["person", "people"], service: ["service account", "service accounts"], system: ["system account", "system accounts"] };

/** LeftOut says who was active and is not counted, and for some weeks after the first import from Coder that it counts them. */
function LeftOut({ answer, unlikeCoder }: { answer: GetTemplateInsightsResponse; unlikeCoder: boolean }) {
  const others = (answer.other_actors ?? []).filter((o) => o.actors > 0);
  const hides = answer.collection_mode !== undefined || answer.floor !== undefined, least = hides ? "at least " : "";
  if (others.length === 0) return unlikeCoder && hides ? <p class="note">Coder also counts service and system accounts and whatever else is hidden here.</p> : null;
  const names = others.map((o) => plural(o.actors, ...(actors[o.actor] ?? [o.actor, o.actor]))).join(", ");
  const more = count(others.reduce((sum, o) => sum + o.actors, 0));
  const prebuilds = others.some((o) => o.actor === "system") ? " Prebuilds belong to a system account." : "";
  return <p class="note">Left out: {least}{names}.{unlikeCoder && ` Coder counts them too: ${least}${more} more than here.${prebuilds}`}</p>;
}

const usersOf = (r: TemplateInsightsIntervalReport | undefined): number | undefined => (r?.suppressed ? undefined : r?.active_users);

/** Pair is an interval beside the one in its place of the period before, if that was recorded. */
interface Pair {
  now: TemplateInsightsIntervalReport;
  before: TemplateInsightsIntervalReport | undefined;
}

/** recorded pairs intervals. What ended before the first moment that was recorded is left out, and only what began later is compared. */
function recorded(now: TemplateInsightsIntervalReport[], before: TemplateInsightsIntervalReport[], first: number): Pair[] {
  const whole = (r: TemplateInsightsIntervalReport | undefined) => (r && Date.parse(r.start_time) >= first ? r : undefined);
  return now.map((r, i) => ({ now: r, before: whole(before[i]) })).filter((pair) => Date.parse(pair.now.end_time) > first);
}

function shown(pairs: Pair[], zone: string, floor: number | undefined): Sheet {
  const compared = pairs.some((pair) => pair.before);
  return {
    columns: ["Interval", "Active users", ...(compared ? ["Period before"] : []), "Note"],
    rows: pairs.map(({ now, before }) => [nameOf(now, zone), usersOf(now) ?? "–", ...(compared ? [usersOf(before) ?? "–"] : []), now.suppressed ? hidden(floor) : now.partial ? "not complete" : ""]),
  };
}

/** Reading is what is said of one interval. */
function Reading({ of: { now, before }, zone, floor }: { of: Pair; zone: string; floor: number | undefined }) {
  return <><b>{now.suppressed ? hidden(floor) : count(now.active_users)}</b> {nameOf(now, zone)}{now.partial ? ", not complete" : ""}{before && !before.suppressed ? ` · ${count(before.active_users)} on ${shortDay(before.start_time, zone)} before` : ""}</>;
}

const nameOf = (r: TemplateInsightsIntervalReport, zone: string): string => (r.interval === "week" ? "Week of " : "") + longDay(r.start_time, zone);

const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

interface ChartProps {
  pairs: Pair[];
  zone: string;
  floor: number | undefined;
}

function Chart({ pairs, zone, floor }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const [at, setAt] = useState<number | null>(null);
  const data = useMemo<uPlot.AlignedData>(() => [
    pairs.map((_, i) => i),
    pairs.map(({ now }) => (now.partial ? null : (usersOf(now) ?? null))),
    pairs.map(({ now }) => (now.partial ? now.active_users : null)),
    pairs.map(({ before }) => usersOf(before) ?? null),
  ], [pairs]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const bars = uPlot.paths.bars?.({ size: [0.72, 56], radius: 0.12 });
    const axis = { stroke: () => color("--muted"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false }, font: "12px " + getComputedStyle(document.body).fontFamily };
    const chart = new uPlot({
      width: element.clientWidth, height: element.clientHeight, padding: [12, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false, range: (_, min, max) => [min - 0.6, max + 0.6] }, y: { range: (_, __, max) => [0, Math.max(4, max * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 28, splits: (u) => marks(pairs.length, u.width), values: (_, splits) => splits.map((i) => (pairs[i] ? shortDay(pairs[i].now.start_time, zone) : "")) },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000], values: (_, splits) => splits.map((n) => count(n)) },
      ],
      series: [
        {},
        { fill: () => color("--accent"), stroke: () => color("--accent"), width: 0, ...(bars ? { paths: bars } : {}), points: { show: false } },
        { fill: () => color("--accent-pale"), stroke: () => color("--accent"), dash: [4, 3], width: 1.5, ...(bars ? { paths: bars } : {}), points: { show: false } },
        { stroke: () => color("--before"), width: 2, points: { show: pairs.length < 15, size: 5, fill: () => color("--before") } },
      ],
      hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
    }, data, element);
    plot.current = chart;
    const sizes = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: element.clientHeight }));
    sizes.observe(element);
    const redraw = () => chart.redraw(false);
    const looks = ["(prefers-color-scheme: dark)", "print"].map((query) => matchMedia(query));
    looks.forEach((look) => look.addEventListener("change", redraw));
    return () => {
      sizes.disconnect();
      looks.forEach((look) => look.removeEventListener("change", redraw));
      chart.destroy();
      setAt(null);
    };
  }, [data, zone]);
  const step = (e: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (by === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    setAt((i) => Math.max(0, Math.min(pairs.length - 1, i === null ? (by > 0 ? 0 : pairs.length - 1) : i + by)));
  };
  const most = pairs.reduce((a, b) => (b.now.active_users > a.now.active_users ? b : a), pairs[0] as Pair)?.now;
  const here = at === null ? undefined : pairs[at];
  return (
    <div class="chart">
      <p class="legend">
        <span><i class="swatch now" />This period</span>
        {pairs.some((pair) => pair.now.partial) && <span><i class="swatch partial" />Not complete</span>}
        {pairs.some((pair) => pair.before) && <span><i class="swatch before" />Period before</span>}
      </p>
      <div
        class="plot" ref={box} tabIndex={0} role="img" onKeyDown={step} onBlur={() => setAt(null)}
        aria-label={most ? `Active users of ${plural(pairs.length, "interval")}, at most ${most.active_users} (${nameOf(most, zone)}). Arrow keys read the intervals.` : "Active users"}
      />
      <p class="readout" aria-live="polite">
        {here ? <Reading of={here} zone={zone} floor={floor} /> : " "}
      </p>
    </div>
  );
}

/** marks are the intervals that the axis names: as many as there is room for. */
function marks(n: number, width: number): number[] {
  const every = Math.max(1, Math.ceil(n / Math.max(1, Math.floor(width / 72))));
  return Array.from({ length: Math.ceil(n / every) }, (_, i) => i * every);
}
