// What the page shows, all of it in the address: who gets a link sees the same.

import { useEffect, useState } from "preact/hooks";
import { type Day, type Period, addDays, dayOf, isDay, isZone, length, presets } from "./calendar";

/** View is everything that people can choose. Empty texts are the defaults. */
export interface View {
  template: string;
  organization: string;
  range: string; // a preset; empty: from and to
  from: Day;
  to: Day;
  zone: string; // empty: that of the browser, until the address names it
  interval: string; // day or week; empty: what suits the templates
  compare: boolean;
  tables: string[]; // charts that are shown as tables
  search: string; // of users
  usersSort: string;
  usersPage: number; // from 1
  latencySort: string;
  latencyPage: number;
  templatesPage: number;
}

const defaultRange = "28d";

const initial: View = {
  template: "", organization: "", range: defaultRange, from: "", to: "", zone: "", interval: "", compare: true, tables: [],
  search: "", usersSort: "", usersPage: 1, latencySort: "", latencyPage: 1, templatesPage: 1,
};

export const browserZone: string = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export const zoneOf = (view: View): string => view.zone || browserZone;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ofTemplate = /^\/templates\/([^/]+)\/insights$/;

/** isAddress reports whether the page shows something at a path. */
export const isAddress = (path: string): boolean => path === "/" || uuid.test(ofTemplate.exec(path)?.[1] ?? "");

const maxDays = 366;
const firstDay = "1970-01-02"; // whatever the zone: the server knows no times before 1970
const pageNumber = (text: string | null): number => Math.max(1, Math.min(10000, Number.parseInt(text ?? "", 10) || 1));

/** readView reads an address. What it does not understand is as if it were not there. */
export function readView(path: string, query: string): View {
  const q = new URLSearchParams(query), view = { ...initial };
  const among = (name: string, values: string[]) => (values.includes(q.get(name) ?? "") ? (q.get(name) as string) : "");
  const template = ofTemplate.exec(path)?.[1] ?? "";
  if (uuid.test(template)) view.template = template;
  if (uuid.test(q.get("org") ?? "")) view.organization = q.get("org") as string;
  view.range = among("range", presets.map((p) => p.name)) || defaultRange;
  const from = q.get("from") ?? "", to = q.get("to") ?? "";
  if (isDay(from) && isDay(to) && from <= to && from >= firstDay) Object.assign(view, { range: "", from, to });
  if (isZone(q.get("tz") || "?")) view.zone = q.get("tz") as string;
  view.interval = among("interval", ["day", "week"]);
  view.compare = q.get("compare") !== "off";
  view.tables = (q.get("table") ?? "").split(",").filter((name) => name !== "");
  view.search = (q.get("search") ?? "").slice(0, 100);
  view.usersSort = among("users", ["username"]);
  view.latencySort = among("latency", ["p50", "username"]);
  view.usersPage = pageNumber(q.get("users_page"));
  view.latencyPage = pageNumber(q.get("latency_page"));
  view.templatesPage = pageNumber(q.get("templates_page"));
  return view;
}

/** addressOf writes the address of a view, without what is the default for everybody. */
export function addressOf(view: View): string {
  const q = new URLSearchParams();
  const set = (name: string, value: string, standard = "") => value !== standard && q.set(name, value);
  set("org", view.organization);
  if (view.range === "") {
    set("from", view.from);
    set("to", view.to);
  } else set("range", view.range, defaultRange);
  set("tz", zoneOf(view)); // always: that of another browser is another
  set("interval", view.interval);
  set("compare", view.compare ? "" : "off");
  set("table", view.tables.join(","));
  set("search", view.search);
  set("users", view.usersSort);
  set("latency", view.latencySort);
  set("users_page", String(view.usersPage), "1");
  set("latency_page", String(view.latencyPage), "1");
  set("templates_page", String(view.templatesPage), "1");
  const path = view.template === "" ? "/" : "/templates/" + view.template + "/insights";
  return path + "?" + written(q);
}

/** written is a query as people can read it. */
const written = (q: URLSearchParams): string => q.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");

/** periodOf is the days that a view shows: none of the future, and no more than the API counts one by one. */
export function periodOf(view: View, now: number): Period {
  const today = dayOf(now, zoneOf(view));
  const preset = presets.find((p) => p.name === view.range);
  const asked = preset ? preset.of(today) : { from: view.from, to: view.to };
  const to = asked.to > today ? today : asked.to;
  const from = asked.from > to ? to : asked.from;
  return length({ from, to }) > maxDays ? { from: addDays(to, 1 - maxDays), to } : { from, to };
}

/** closedPeriod is what is left of a period where only days that are over are told. */
export function closedPeriod(p: Period, today: Day): Period {
  const to = p.to < today ? p.to : addDays(today, -1);
  return { from: p.from > to ? to : p.from, to };
}

/** Change changes a view. Whoever changes what is counted is back on the first pages. */
export type Change = (change: Partial<View>, history?: "push" | "replace") => void;

/** nameZone gives an address without a zone that of the browser, so that it shows others the same. */
export function nameZone(): void {
  if (readView(location.pathname, location.search).zone !== "") return;
  const q = new URLSearchParams(location.search);
  q.set("tz", browserZone);
  history.replaceState(history.state, "", location.pathname + "?" + written(q) + location.hash);
}

/** here is the view of the address. */
function here(): View {
  nameZone();
  return readView(location.pathname, location.search);
}

/** useView keeps the view and the address equal. */
export function useView(): [View, Change] {
  const [view, setView] = useState(here);
  useEffect(() => {
    const back = () => setView(here());
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const change: Change = (part, kind = "push") => {
    const counted: (keyof View)[] = ["template", "organization", "range", "from", "to", "zone", "search"];
    const first = counted.some((name) => name in part) ? { usersPage: 1, latencyPage: 1, ...("search" in part ? {} : { templatesPage: 1 }) } : {};
    const next = { ...view, ...first, ...part };
    const address = addressOf(next);
    if (address !== location.pathname + location.search) history[kind === "push" ? "pushState" : "replaceState"](null, "", address);
    setView(next);
  };
  return [view, change];
}
