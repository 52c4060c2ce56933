// How many people were active in each interval, beside the period before.

import type { DefaultInterval, GetTemplateInsightsResponse, TemplateInsightsIntervalReport } from "@template-insights/client";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Answer } from "./api";
import { type Period, wholeWeeks } from "./calendar";
import { count, hidden, longDay, plural, shortDay } from "./format";
import { type Frame, Panel, type Sheet, Table } from "./panel";
import { zoneOf } from "./view";

interface Props extends Frame {
  answer: Answer<GetTemplateInsightsResponse>;
  before: Answer<GetTemplateInsightsResponse>;
  period: Period;
}

/** why explains an interval that nobody chose. */
function why(chosen: string, period: Period, suits: DefaultInterval | null | undefined): string {
  if ((chosen === "week" || suits?.interval === "week") && chosen !== "day" && !wholeWeeks(period)) return " In days, because the range is not whole weeks.";
  if (chosen !== "") return "";
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
  const before = p.view.compare ? (p.before.value?.interval_reports ?? []) : [];
  return (
    <Panel
      {...p} id="users" title="Active users" hint={"People who used a workspace." + why(p.view.interval, p.period, p.answer.value?.default_interval)} section="active_users" chart file={p.files.users}
      empty={(a) => a.report?.active_users === 0}
    >
      {(a, table) => (table ? <Table sheet={shown(a.interval_reports ?? [], before, zone, a.floor)} label="Active users" /> : <Chart now={a.interval_reports ?? []} before={before} zone={zone} floor={a.floor} />)}
    </Panel>
  );
}

const usersOf = (r: TemplateInsightsIntervalReport | undefined): number | undefined => (r?.suppressed ? undefined : r?.active_users);

function shown(now: TemplateInsightsIntervalReport[], before: TemplateInsightsIntervalReport[], zone: string, floor: number | undefined): Sheet {
  return {
    columns: ["Interval", "Active users", ...(before.length > 0 ? ["Period before"] : []), "Note"],
    rows: now.map((r, i) => [nameOf(r, zone), usersOf(r) ?? "–", ...(before.length > 0 ? [usersOf(before[i]) ?? "–"] : []), r.suppressed ? hidden(floor) : r.partial ? "not complete" : ""]),
  };
}

const nameOf = (r: TemplateInsightsIntervalReport, zone: string): string => (r.interval === "week" ? "Week of " : "") + longDay(r.start_time, zone);

const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

interface ChartProps {
  now: TemplateInsightsIntervalReport[];
  before: TemplateInsightsIntervalReport[];
  zone: string;
  floor: number | undefined;
}

function Chart({ now, before, zone, floor }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const [at, setAt] = useState<number | null>(null);
  const data = useMemo<uPlot.AlignedData>(() => [
    now.map((_, i) => i),
    now.map((r) => (r.partial ? null : (usersOf(r) ?? null))),
    now.map((r) => (r.partial ? r.active_users : null)),
    now.map((_, i) => usersOf(before[i]) ?? null),
  ], [now, before]);
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
        { ...axis, grid: { show: false }, size: 28, splits: (u) => marks(now.length, u.width), values: (_, splits) => splits.map((i) => (now[i] ? shortDay(now[i].start_time, zone) : "")) },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000], values: (_, splits) => splits.map((n) => count(n)) },
      ],
      series: [
        {},
        { fill: () => color("--accent"), stroke: () => color("--accent"), width: 0, ...(bars ? { paths: bars } : {}), points: { show: false } },
        { fill: () => color("--accent-pale"), stroke: () => color("--accent"), dash: [4, 3], width: 1.5, ...(bars ? { paths: bars } : {}), points: { show: false } },
        { stroke: () => color("--before"), width: 2, points: { show: now.length < 15, size: 5, fill: () => color("--before") } },
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
    setAt((i) => Math.max(0, Math.min(now.length - 1, i === null ? (by > 0 ? 0 : now.length - 1) : i + by)));
  };
  const most = now.reduce((a, b) => (b.active_users > a.active_users ? b : a), now[0] as TemplateInsightsIntervalReport);
  const here = at === null ? undefined : now[at];
  return (
    <div class="chart">
      <p class="legend">
        <span><i class="swatch now" />This period</span>
        {now.some((r) => r.partial) && <span><i class="swatch partial" />Not complete</span>}
        {before.length > 0 && <span><i class="swatch before" />Period before</span>}
      </p>
      <div
        class="plot" ref={box} tabIndex={0} role="img" onKeyDown={step} onBlur={() => setAt(null)}
        aria-label={most ? `Active users of ${plural(now.length, "interval")}, at most ${most.active_users} (${nameOf(most, zone)}). Arrow keys read the intervals.` : "Active users"}
      />
      <p class="readout" aria-live="polite">
        {here && at !== null ? (
          <><b>{here.suppressed ? hidden(floor) : count(here.active_users)}</b> {nameOf(here, zone)}{here.partial ? ", not complete" : ""}{before[at] && !before[at].suppressed ? ` · ${count(before[at].active_users)} on ${shortDay(before[at].start_time, zone)} before` : ""}</>
        ) : " "}
      </p>
    </div>
  );
}

/** marks are the intervals that the axis names: as many as there is room for. */
function marks(n: number, width: number): number[] {
  const every = Math.max(1, Math.ceil(n / Math.max(1, Math.floor(width / 72))));
  return Array.from({ length: Math.ceil(n / every) }, (_, i) => i * every);
}
