// The page: who is there, what they ask for, and the panels that show it.

import type { GetTemplateInsightsResponse, Organization, Template, WhoAmIResponse } from "@template-insights/client";
import { InsightsError } from "@template-insights/client";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ActiveUsers } from "./active_users";
import { client, serverNow, useAnswer } from "./api";
import { Apps } from "./apps";
import { type Period, dayOf, intervalOf, previous, windowBefore, windowOf } from "./calendar";
import { Findings } from "./findings";
import { Header } from "./header";
import { Kpis } from "./kpis";
import { Failed, exportAll } from "./panel";
import { Parameters } from "./parameters";
import { Activity, Latency, Search, pageOf } from "./people";
import { Help, useShortcuts } from "./shortcuts";
import { SignIn, comeBack, takeFragment } from "./sign_in";
import "./style.css";
import { Templates } from "./templates";
import { type View, type Change, closedPeriod, periodOf, useView, zoneOf } from "./view";

interface Account {
  me: WhoAmIResponse;
  templates: Template[];
  organizations: Organization[];
}

const fragment = takeFragment();
comeBack();

function Page() {
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
  };
  if (signedOut) return <SignIn fragment={fragment} done={enter} />;
  return <Visit signedOut={() => setSignedOut(true)} />;
}

/** Visit asks who is there and for the numbers at once: neither needs the other. */
function Visit({ signedOut }: { signedOut: () => void }) {
  const account = useAnswer<Account>("account", async (signal) => {
    const [me, templates, organizations] = await Promise.all([client.whoAmI({}, { signal }), client.listTemplates({}, { signal }), client.listOrganizations({}, { signal })]);
    return { me, templates, organizations };
  });
  const [chosen, change] = useView();
  // Where small groups are hidden, days are those of the deployment that are over.
  const only = account.value?.me.insights_timezone ?? "", view = only === "" ? chosen : { ...chosen, zone: only };
  const [now, setNow] = useState(serverNow());
  useEffect(() => { // what is coming in is worth a look every minute
    const timer = setInterval(() => document.visibilityState === "visible" && setNow(serverNow()), 60_000);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => setNow(serverNow()), [account.value]); // the first answers tell the time of the server
  const period = only === "" ? periodOf(view, now) : closedPeriod(periodOf(view, now), dayOf(now, only));
  const questions = useQuestions(view, period, Math.floor(now / 60_000));
  if (account.error instanceof InsightsError && account.error.status === 401) return null;
  if (account.error !== undefined) return <main class="alone"><Failed error={account.error} retry={account.retry} /></main>;
  if (!account.value) return <main class="alone"><div class="skeleton" role="status"><span class="hidden">Loading</span></div></main>;
  return <Dashboard account={account.value} view={view} change={change} period={period} questions={questions} signedOut={signedOut} />;
}

interface DashboardProps {
  account: Account;
  view: View;
  change: Change;
  period: Period;
  questions: ReturnType<typeof useQuestions>;
  signedOut: () => void;
}

function Dashboard({ account, view, change, period, questions, signedOut }: DashboardProps) {
  const [help, setHelp] = useState(false);
  useShortcuts(view, change, () => setHelp(true));
  const template = account.templates.find((t) => t.id === view.template);
  useEffect(() => {
    document.title = (template ? (template.display_name || template.name) + " · " : "") + "Template Insights";
  }, [template]);
  const shown = account.templates.filter((t) => (view.template === "" ? view.organization === "" || t.organization_id === view.organization : t.id === view.template));
  const { insights, before, activity, latencies, diagnosis } = questions;
  // Days before the first that was recorded are none without usage. Where small groups are hidden it is not told, and what is not
  // published is marked.
  const since = diagnosis.value?.data_since ? dayOf(Date.parse(diagnosis.value.data_since), zoneOf(view)) : "";
  const comparable = view.compare && (diagnosis.value?.floor !== undefined || (since !== "" && since <= previous(period).from));
  const file = ["insights", template?.name ?? "all", period.from, period.to].join("-");
  const frame = { view, change, findings: diagnosis.value?.findings ?? [], file };
  return (
    <>
      <a class="skip" href="#main">To the numbers</a>
      <Header
        view={view} change={change} me={account.me} templates={account.templates} organizations={account.organizations} period={period}
        dataAsOf={insights.value?.data_as_of} mode={insights.value?.collection_mode} floor={insights.value?.floor}
        exportAll={() => exportAll(file)} help={() => setHelp(true)} signedOut={signedOut}
      />
      <main id="main" tabIndex={-1}>
        <h1 class={template ? "" : "hidden"}>{template ? template.display_name || template.name : "All templates"}</h1>
        {account.templates.length === 0 ? <Forbidden me={account.me} />
          : shown.length === 0 ? <NotFound change={change} />
          : (
            <>
              <Kpis insights={insights} activity={activity} latencies={latencies} {...(comparable ? { before } : {})} since={view.compare && !comparable ? since : ""} />
              <Findings findings={frame.findings} zone={zoneOf(view)} templates={shown} />
              <div class="panels">
                <ActiveUsers {...frame} answer={insights} before={before.insights} period={period} since={since} />
                {view.template === "" && <Templates {...frame} templates={shown} organizations={account.organizations} period={period} compare={comparable} since={since} wait={[insights, activity, latencies].some((a) => a.loading && a.value === undefined)} />}
                <Apps {...frame} answer={insights} />
                <Parameters {...frame} answer={insights} templates={account.templates} />
                <div class="people-tools"><h2>People</h2><Search view={view} change={change} /></div>
                <Activity {...frame} answer={activity} templates={account.templates} />
                <Latency {...frame} answer={latencies} />
              </div>
            </>
          )}
      </main>
      <Help open={help} close={() => setHelp(false)} />
    </>
  );
}

/** useQuestions asks everything that the page shows. To compare, it asks twice. */
function useQuestions(view: View, period: Period, minute: number) {
  const zone = zoneOf(view);
  // Naming neither asks for all that may be seen.
  const of = view.template !== "" ? { template_ids: [view.template] } : view.organization !== "" ? { organization_id: view.organization } : {};
  // What is over does not change; what reaches today is asked again and again.
  const live = period.to === dayOf(serverNow(), zone) ? minute : 0;
  const interval = intervalOf(view.interval, period);
  const now = { ...windowOf(period, zone, serverNow()), ...of }, then = { ...windowBefore(period, zone, serverNow()), ...of };
  const key = (asked: boolean, ...parts: unknown[]) => (asked ? JSON.stringify([of, zone, ...parts]) : undefined);
  const insights = useAnswer<GetTemplateInsightsResponse>(key(true, period, interval, live), (signal) => client.getTemplateInsights({ ...now, interval }, { signal }));
  const activity = useAnswer(key(true, period, live, view.search, view.usersSort, view.usersPage), (signal) =>
    pageOf(view.usersPage, (page_size, page_token) => client.getUserActivity({ ...now, search: view.search, sort: view.usersSort, page_size, page_token }, { signal })));
  const latencies = useAnswer(key(true, period, live, view.search, view.latencySort, view.latencyPage), (signal) =>
    pageOf(view.latencyPage, (page_size, page_token) => client.getUserLatency({ ...now, search: view.search, sort: view.latencySort, page_size, page_token }, { signal })));
  const before = {
    insights: useAnswer<GetTemplateInsightsResponse>(key(view.compare, then, interval), (signal) => client.getTemplateInsights({ ...then, interval }, { signal })),
    activity: useAnswer(key(view.compare, then), (signal) => client.getUserActivity({ ...then, page_size: 1 }, { signal })),
    latencies: useAnswer(key(view.compare, then), (signal) => client.getUserLatency({ ...then, page_size: 1 }, { signal })),
  };
  const diagnosis = useAnswer(key(true, period, live), (signal) => client.getDiagnosis(now, { signal }));
  return { insights, before, activity, latencies, diagnosis };
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
