// The page: who is there, what they ask for, and the panels that show it.

import type { GetTemplateInsightsResponse, Template, WhoAmIResponse } from "@template-insights/client";
import { InsightsError } from "@template-insights/client";
import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ActiveUsers } from "./active_users";
import { client, serverNow, useAnswer, whoIsThere } from "./api";
import { Apps } from "./apps";
import { type Period, dayOf, intervalOf, windowBefore, windowOf } from "./calendar";
import { filesOf } from "./export";
import { Findings } from "./findings";
import { dayAndClock, days } from "./format";
import { Header } from "./header";
import { Kpis } from "./kpis";
import { type NamedOrganization, namesOf } from "./names";
import { Failed, Outage } from "./panel";
import { Parameters } from "./parameters";
import { Activity, Latency, Search, pageOf } from "./people";
import { Help, useShortcuts } from "./shortcuts";
import { SignIn, comeBack, takeFragment } from "./sign_in";
import "./style.css";
import { Templates, rowsOf } from "./templates";
import { Undecided } from "./undecided";
import { type View, type Change, closedPeriod, isAddress, nameZone, periodOf, useView, zoneOf } from "./view";

interface Account {
  templates: Template[];
  organizations: NamedOrganization[];
}

const fragment = takeFragment();
comeBack();
if (isAddress(location.pathname)) nameZone(); // at once: where an address changes later, browsers fetch the icon again

/** Page asks who is there first: before that is known every other question might be an error. */
function Page() {
  const session = useAnswer<WhoAmIResponse | null>("session", whoIsThere);
  const [signedOut, setSignedOut] = useState(fragment.token !== "" || fragment.failed);
  useEffect(() => {
    const leave = () => setSignedOut(true);
    addEventListener("signed-out", leave);
    // What the browser kept for its back button may be of somebody who has signed out since.
    const back = (e: PageTransitionEvent) => e.persisted && location.reload();
    addEventListener("pageshow", back);
    return () => {
      removeEventListener("signed-out", leave);
      removeEventListener("pageshow", back);
    };
  }, []);
  const enter = () => {
    fragment.token = "";
    fragment.failed = false;
    setSignedOut(false);
    session.retry();
  };
  if (!isAddress(location.pathname)) return <NoPage />;
  if (signedOut || session.value === null) return <><Outage /><SignIn fragment={fragment} done={enter} /></>;
  if (session.error !== undefined) return <><Outage /><main class="alone"><Failed error={session.error} retry={session.retry} /></main></>;
  if (session.value === undefined) return <Loading />;
  return <><Outage /><Visit me={session.value} signedOut={() => setSignedOut(true)} /></>;
}

function Loading() {
  return <main class="alone"><div class="skeleton" role="status"><span class="hidden">Loading</span></div></main>;
}

/** organizationsOf are those that templates belong to, by name. */
function organizationsOf(templates: Template[]): NamedOrganization[] {
  const all = new Map(templates.map((t) => [t.organization_id, { id: t.organization_id, name: t.organization_name, display_name: t.organization_display_name }]));
  return [...all.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** Visit asks for the list and for the numbers at once: neither needs the other, but those of the list itself. */
function Visit({ me, signedOut }: { me: WhoAmIResponse; signedOut: () => void }) {
  const account = useAnswer<Account>("account", async (signal) => {
    const templates = await client.listTemplates({}, { signal });
    return { templates, organizations: organizationsOf(templates) };
  });
  const [chosen, change] = useView();
  // Where small groups are hidden, days are those of the deployment that are over.
  const only = me.insights_timezone ?? "";
  // Whoever sees one template sees it at once.
  const [sole, second] = account.value?.templates ?? [];
  const template = sole && !second && chosen.organization === "" ? chosen.template || sole.id : chosen.template;
  const view = { ...chosen, template, ...(only === "" ? {} : { zone: only }) };
  useEffect(() => {
    if (template !== chosen.template) change({ template }, "replace");
  }, [template, chosen.template]);
  const [now, setNow] = useState(serverNow());
  useEffect(() => { // what is coming in is worth a look every minute
    const timer = setInterval(() => document.visibilityState === "visible" && setNow(serverNow()), 60_000);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => setNow(serverNow()), [account.value]); // the first answers tell the time of the server
  const period = only === "" ? periodOf(view, now) : closedPeriod(periodOf(view, now), dayOf(now, only));
  const shown = (account.value?.templates ?? []).filter((t) => (view.template === "" ? view.organization === "" || t.organization_id === view.organization : t.id === view.template));
  const questions = useQuestions(view, period, Math.floor(now / 60_000), view.template === "" ? rowsOf(shown, view.templatesPage) : []);
  if (account.error instanceof InsightsError && account.error.status === 401) return null;
  if (account.error !== undefined) return <main class="alone"><Failed error={account.error} retry={account.retry} /></main>;
  if (!account.value) return <Loading />;
  return <Dashboard me={me} account={account.value} shown={shown} view={view} change={change} period={period} questions={questions} signedOut={signedOut} />;
}

interface DashboardProps {
  me: WhoAmIResponse;
  account: Account;
  shown: Template[]; // what the view is about
  view: View;
  change: Change;
  period: Period;
  questions: ReturnType<typeof useQuestions>;
  signedOut: () => void;
}

function Dashboard({ me, account, shown, view, change, period, questions, signedOut }: DashboardProps) {
  const [help, setHelp] = useState(false);
  useShortcuts(view, change, () => setHelp(true));
  const names = useMemo(() => namesOf(account.templates), [account]);
  const name = names.get(view.template), organization = account.organizations.find((o) => o.id === view.organization);
  useEffect(() => {
    document.title = (name ? name + " · " : "") + "Template Insights";
  }, [name]);
  const { insights, before, beforeStart, activity, latencies, diagnosis, usage, files } = questions;
  // Days before the first that was recorded are none without usage, and of that first one, a day of UTC, nobody knows when it began to be.
  // Where small groups are hidden it is not told, and what is not published is marked.
  const first = diagnosis.value?.data_since ? Date.parse(diagnosis.value.data_since) : undefined, earlier = before.insights.value;
  const since = first === undefined ? "" : dayOf(first, zoneOf(view));
  const published = earlier !== undefined && !earlier.report?.suppressed && !earlier.interval_reports?.[0]?.suppressed;
  const comparable = view.compare && (diagnosis.value?.floor !== undefined ? published : first !== undefined && beforeStart >= first + 86_400_000);
  const frame = { view, change, findings: diagnosis.value?.findings ?? [], names, files };
  return (
    <>
      <a class="skip" href="#main">To the numbers</a>
      <Header
        view={view} change={change} me={me} templates={account.templates} names={names} organizations={account.organizations} period={period}
        dataAsOf={insights.value?.data_as_of} mode={insights.value?.collection_mode} floor={insights.value?.floor}
        exportAll={files.all} help={() => setHelp(true)} signedOut={signedOut}
      />
      <main id="main" tabIndex={-1}>
        <p class="on-paper">{titleOf(name ?? (organization?.display_name || organization?.name), view, period, insights.value?.data_as_of)}</p>
        <h1 class={name ? "" : "hidden"}>{name ?? "All templates"}</h1>
        <Undecided me={me} />
        {account.templates.length === 0 ? <Forbidden me={me} />
          : shown.length === 0 ? <NotFound change={change} />
          : (
            <>
              <Kpis insights={insights} activity={activity} latencies={latencies} {...(comparable ? { before } : {})} since={view.compare && !comparable ? since : ""} />
              <Findings findings={diagnosis.value?.findings} zone={zoneOf(view)} templates={shown} names={names} />
              <div class="panels">
                <ActiveUsers {...frame} answer={insights} before={before.insights} period={period} since={since} />
                {view.template === "" && <Templates {...frame} templates={shown} answer={usage} compare={comparable} since={since} />}
                <Apps {...frame} answer={insights} />
                <Parameters {...frame} answer={insights} />
                <div class="people-tools"><h2>People</h2><Search view={view} change={change} /></div>
                <Activity {...frame} answer={activity} />
                <Latency {...frame} answer={latencies} />
              </div>
            </>
          )}
      </main>
      <Help open={help} close={() => setHelp(false)} />
    </>
  );
}

/** titleOf says in a line what is shown, as the controls do, which paper does not have. */
function titleOf(name: string | undefined, view: View, period: Period, asOf: string | undefined): string {
  const zone = zoneOf(view);
  return [name ?? "All templates", days(period.from, period.to), zone, ...(asOf ? ["as of " + dayAndClock(asOf, zone)] : [])].join(" · ");
}

/** useQuestions asks everything that the page shows, of the listed templates what each has by itself. To compare, it asks twice. */
function useQuestions(view: View, period: Period, minute: number, listed: Template[]) {
  const zone = zoneOf(view);
  // Naming neither asks for all that may be seen.
  const of = view.template !== "" ? { template_ids: [view.template] } : view.organization !== "" ? { organization_id: view.organization } : {};
  // What is over does not change; what reaches today is asked again and again.
  const live = period.to === dayOf(serverNow(), zone) ? minute : 0;
  const interval = intervalOf(view.interval, period);
  const window = windowOf(period, zone, serverNow()), now = { ...window, ...of }, then = { ...windowBefore(period, zone, serverNow()), ...of };
  const about = JSON.stringify([of, zone, period]);
  const ask = <T,>(asked: boolean, parts: unknown[], question: (signal: AbortSignal) => Promise<T>) => useAnswer<T>(asked ? about + JSON.stringify(parts) : undefined, question, about);
  const insights = ask<GetTemplateInsightsResponse>(true, [interval, live], (signal) => client.getTemplateInsights({ ...now, interval }, { signal }));
  const activity = ask(true, [live, view.search, view.usersSort, view.usersPage], (signal) =>
    pageOf(view.usersPage, (page_size, page_token) => client.getUserActivity({ ...now, search: view.search, sort: view.usersSort, page_size, page_token }, { signal })));
  const latencies = ask(true, [live, view.search, view.latencySort, view.latencyPage], (signal) =>
    pageOf(view.latencyPage, (page_size, page_token) => client.getUserLatency({ ...now, search: view.search, sort: view.latencySort, page_size, page_token }, { signal })));
  const before = {
    insights: ask<GetTemplateInsightsResponse>(view.compare, [then, interval], (signal) => client.getTemplateInsights({ ...then, interval }, { signal })),
    activity: ask(view.compare, [then], (signal) => client.getUserActivity({ ...then, page_size: 1 }, { signal })),
    latencies: ask(view.compare, [then], (signal) => client.getUserLatency({ ...then, page_size: 1 }, { signal })),
  };
  const diagnosis = ask(true, [live], (signal) => client.getDiagnosis(now, { signal }));
  const compared = view.compare ? { previous_start_time: then.start_time, previous_end_time: then.end_time } : {};
  const rows = { ...window, template_ids: listed.map((t) => t.id), ...compared };
  const usage = ask(listed.length > 0, [rows, live], (signal) => client.listTemplateUsage(rows, { signal }));
  const files = filesOf({ ...view, scope: now, compared, interval, people: activity.error === undefined });
  return { insights, before, beforeStart: Date.parse(then.start_time), activity, latencies, diagnosis, usage, files };
}

function Forbidden({ me }: { me: WhoAmIResponse }) {
  return (
    <div class="state alone" data-state="forbidden">
      <h2>You may not see insights yet</h2>
      <p>You are signed in{me.username ? ` as ${me.username}` : ""}, but hold <code>view_insights</code> on no template.</p>
      <p>An owner can grant it for a template, an organization or everything; so can the admins of a template in the system that it comes from. With the command line: <code>insights grant create</code>.</p>
    </div>
  );
}

function NoPage() {
  useEffect(() => {
    document.title = "No such page · Template Insights";
  }, []);
  return (
    <main class="state alone" data-state="no-page">
      <h1>There is no such page</h1>
      <p>The address may be misspelled, or the link too old.</p>
      <a href="/">To the templates</a>
    </main>
  );
}

function NotFound({ change }: { change: Change }) {
  return (
    <div class="state alone" data-state="not-found">
      <h2>There is no such template for you</h2>
      <p>It does not exist, or you do not hold <code>view_insights</code> on it. Ask an owner or an admin of the template.</p>
      <button type="button" onClick={() => change({ template: "", organization: "" })}>Show all that you may see</button>
    </div>
  );
}

render(<Page />, document.getElementById("page") as HTMLElement);
