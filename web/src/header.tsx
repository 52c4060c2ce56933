// The controls: which templates, which days, how they are shown.

import type { Template, WhoAmIResponse } from "@template-insights/client";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { client, reasonOf, serverNow } from "./api";
import { type Period, addDays, dayOf, length, presets, wholeWeeks } from "./calendar";
import { ago, dayAndClock, days, plural, words } from "./format";
import { Logo } from "./logo";
import type { NamedOrganization } from "./names";
import { type Change, type View, browserZone, periodOf, zoneOf } from "./view";

interface Props {
  view: View;
  change: Change;
  me: WhoAmIResponse;
  templates: Template[]; // that may be seen
  names: Map<string, string>; // of templates, by id
  organizations: NamedOrganization[];
  period: Period;
  dataAsOf: string | undefined;
  mode: string | undefined; // of privacy; none: users are named
  floor: number | undefined; // how many people a number must be about
  exportAll: string; // address
  help: () => void;
  signedOut: () => void;
}

export function Header(p: Props) {
  const { view, change, period } = p;
  const zone = zoneOf(view), narrow = useNarrow();
  const organization = p.organizations.length > 1 && (
    <select aria-label="Organization" value={view.organization} onChange={(e) => change({ organization: e.currentTarget.value, template: "" })}>
      <option value="">All organizations</option>
      {p.organizations.map((o) => <option key={o.id} value={o.id}>{o.display_name || o.name}</option>)}
    </select>
  );
  const filters = (
    <>
      {narrow && organization}
      <select aria-label="Time zone" value={zone} onChange={(e) => change({ zone: e.currentTarget.value })}>
        {zones(zone).map((name) => <option key={name} value={name}>{name.replaceAll("_", " ")}</option>)}
      </select>
      <Interval {...p} />
      <label class="check"><input type="checkbox" checked={view.compare} onChange={(e) => change({ compare: e.currentTarget.checked })} />Compare with before</label>
    </>
  );
  const inOrganization = p.templates.filter((t) => view.organization === "" || t.organization_id === view.organization);
  return (
    <header class="top">
      <div class="row">
        <a class="brand" href="/" onClick={(e) => { e.preventDefault(); change({ template: "", organization: "" }); }}>
          <Logo size={24} /><span class={narrow ? "hidden" : ""}>Template Insights</span>
        </a>
        {!narrow && organization}
        {p.templates.length > 0 && <select aria-label="Template" id="template" value={view.template} onChange={(e) => change({ template: e.currentTarget.value })}>
          {p.templates.length > 1 && <option value="">{inOrganization.length === p.templates.length ? "All templates" : "All of the organization"}</option>}
          {inOrganization.map((t) => <option key={t.id} value={t.id}>{p.names.get(t.id)}</option>)}
        </select>}
        <span class="spring" />
        {(p.mode || p.floor) && <span class="mode" title={p.floor ? `Numbers about fewer than ${p.floor} people of a template and day are hidden.` : "The privacy mode."}>{p.mode ? "Privacy: " + p.mode : "Totals only"}</span>}
        {p.dataAsOf && <span class="as-of" title={`Everything that was acknowledged before ${dayAndClock(p.dataAsOf, zone)} is counted.`}>updated <time dateTime={p.dataAsOf}>{ago(p.dataAsOf, serverNow())}</time></span>}
        {p.templates.length > 0 && <a class="button quiet" href={p.exportAll} download>Export all</a>}
        <button type="button" class="quiet" aria-label="Keyboard shortcuts" onClick={p.help}>?</button>
        <Me me={p.me} templates={p.templates} signedOut={p.signedOut} />
      </div>
      {p.templates.length > 0 && <div class="row filters" role="group" aria-label="What is shown">
        <Range view={view} change={change} period={period} />
        {narrow ? <Filters>{filters}</Filters> : filters}
      </div>}
    </header>
  );
}

/** useNarrow says whether there is no room for all controls. */
function useNarrow(): boolean {
  const look = matchMedia("(max-width: 1000px)"), [narrow, setNarrow] = useState(look.matches);
  useEffect(() => {
    const follow = (e: MediaQueryListEvent) => setNarrow(e.matches);
    look.addEventListener("change", follow);
    return () => look.removeEventListener("change", follow);
  }, []);
  return narrow;
}

function Filters({ children }: { children: ComponentChildren }) {
  return (
    <details class="popover right" ref={useOpen()} id="filters">
      <summary>Filters</summary>
      <div class="menu">{children}</div>
    </details>
  );
}

/** zones are those that the browser knows; the present one and UTC first. */
function zones(present: string): string[] {
  const first = [...new Set([present, browserZone, "UTC"])];
  return [...first, ...Intl.supportedValuesOf("timeZone").filter((name) => !first.includes(name))];
}

/** useOpen is a popover that closes with Escape and with a click elsewhere. */
function useOpen() {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (e: Event) => {
      const open = box.current;
      if (!open?.open) return;
      if (e instanceof KeyboardEvent ? e.key === "Escape" : !open.contains(e.target as Node)) {
        open.open = false;
        if (e instanceof KeyboardEvent) open.querySelector("summary")?.focus();
      }
    };
    document.addEventListener("keydown", close);
    document.addEventListener("click", close);
    return () => {
      document.removeEventListener("keydown", close);
      document.removeEventListener("click", close);
    };
  }, []);
  return box;
}

/** shift moves a period by its own length; it ends today at the latest. */
export function shift(view: View, by: -1 | 1): Partial<View> {
  const now = serverNow(), period = periodOf(view, now), today = dayOf(now, zoneOf(view)), n = length(period);
  const to = addDays(period.to, by * n) > today ? today : addDays(period.to, by * n);
  return { range: "", from: addDays(to, 1 - n), to };
}

function Range({ view, change, period }: { view: View; change: Change; period: Period }) {
  const box = useOpen();
  const today = dayOf(serverNow(), zoneOf(view));
  const label = presets.find((preset) => preset.name === view.range)?.label ?? "Range";
  const [from, setFrom] = useState(period.from), [to, setTo] = useState(period.to);
  useEffect(() => {
    setFrom(period.from);
    setTo(period.to);
  }, [period.from, period.to]);
  const choose = (part: Partial<View>) => {
    if (box.current) box.current.open = false;
    change(part);
  };
  const wrong = from === "" || to === "" ? "Both days are needed." : from > to ? "The first day is after the last." : to > today ? "The last day is in the future." : length({ from, to }) > 366 ? "At most 366 days." : "";
  return (
    <div class="joined">
      <button type="button" aria-label="Earlier" onClick={() => change(shift(view, -1))}>‹</button>
      <details class="popover" ref={box} id="range">
        <summary><b>{label}</b> <span class="faint">{days(period.from, period.to)}</span></summary>
        <div class="menu">
          <div class="presets">
            {presets.map((preset) => <button type="button" key={preset.name} aria-pressed={preset.name === view.range} onClick={() => choose({ range: preset.name, from: "", to: "" })}>{preset.label}<kbd>{preset.key}</kbd></button>)}
          </div>
          <form onSubmit={(e) => { e.preventDefault(); if (wrong === "") choose({ range: "", from, to }); }}>
            <label>From <input type="date" max={today} value={from} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
            <label>To <input type="date" max={today} value={to} onInput={(e) => setTo(e.currentTarget.value)} /></label>
            <button type="submit" class="primary" disabled={wrong !== ""}>Show</button>
            <p class="problem" role="status">{wrong}</p>
          </form>
        </div>
      </details>
      <button type="button" aria-label="Later" disabled={period.to >= today} onClick={() => change(shift(view, 1))}>›</button>
    </div>
  );
}

function Interval({ view, change, period }: Props) {
  const weeks = wholeWeeks(period);
  const choices: [string, string][] = [["", "Auto"], ["day", "Days"], ["week", "Weeks"]];
  return (
    <div class="segments" role="group" aria-label="Interval">
      {choices.map(([value, label]) => (
        <button type="button" key={value} aria-pressed={view.interval === value} disabled={value === "week" && !weeks} title={value === "week" && !weeks ? "The range is not whole weeks." : ""} onClick={() => change({ interval: value })}>{label}</button>
      ))}
    </div>
  );
}

/** Me says who is signed in and what they may do. */
function Me({ me, templates, signedOut }: { me: WhoAmIResponse; templates: Template[]; signedOut: () => void }) {
  const box = useOpen();
  const name = me.username ?? me.principal?.kind ?? "";
  const [problem, setProblem] = useState("");
  const leave = () => client.signOut().then(signedOut, (error: unknown) => setProblem(reasonOf(error).text));
  const rights = [...new Set(me.grants.map((g) => words(g.permission) + (g.organization_id ? " in an organization" : g.template_id ? " on a template" : g.group_id ? " about a group" : "")))];
  return (
    <details class="popover right" ref={box} id="me">
      <summary>{name}</summary>
      <div class="menu">
        <p><b>{name}</b> <small>{me.principal?.kind}</small></p>
        <p class="note">Sees {plural(templates.length, "template")}.</p>
        {rights.length > 0 ? <ul class="rights">{rights.map((r) => <li key={r}>{r}</li>)}</ul> : <p class="note">No rights.</p>}
        <button type="button" onClick={() => void leave()}>Sign out</button>
        <p class="problem" role="alert">{problem}</p>
      </div>
    </details>
  );
}
