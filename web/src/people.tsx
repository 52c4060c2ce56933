// Lists of people: who spent how much time, and how quick their connections were.

import type { GetUserActivityResponse, GetUserLatencyResponse, UserActivity, UserLatency } from "@template-insights/client";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Answer } from "./api";
import { count, duration, initials, latency, plural } from "./format";
import { type Frame, Pages, Panel } from "./panel";

/** pageSize is how many people are shown at a time. */
export const pageSize = 15;

/** People is one page of a list of people. */
export interface People<U> {
  users: U[];
  total: number;
}

const maxPage = 1000;

interface PeopleAnswer<U> {
  report: { users: U[]; total_users: number } | null;
  next_page_token?: string;
}

/** pageOf reads one page of a list: what lies before it is skipped in steps that are as large as the API allows. */
export async function pageOf<A extends PeopleAnswer<unknown>>(page: number, question: (size: number, token: string) => Promise<A>): Promise<A> {
  let skip = (page - 1) * pageSize, token = "";
  while (skip > maxPage - pageSize) {
    const answer = await question(maxPage - pageSize, token);
    if (!answer.next_page_token) return { ...answer, report: answer.report && { ...answer.report, users: [] } };
    token = answer.next_page_token;
    skip -= maxPage - pageSize;
  }
  const answer = await question(skip + pageSize, token);
  return { ...answer, report: answer.report && { ...answer.report, users: answer.report.users.slice(skip) } };
}

/** hosts are those that the server allows pictures from. */
const hosts = (document.querySelector<HTMLMetaElement>('meta[name="avatar-hosts"]')?.content ?? "").split(" ").filter((host) => host !== "");

/** allowed reports whether a picture may be shown: only of these hosts, so that no other learns who looks. */
const allowed = (picture: string): boolean => /^https?:/.test(picture) && URL.canParse(picture) && hosts.includes(new URL(picture).host);

function Person({ name, picture, children }: { name: string; picture: string; children?: ComponentChildren }) {
  const [broken, setBroken] = useState("");
  return (
    <span class="person">
      {allowed(picture) && picture !== broken ? <img class="avatar" src={picture} alt="" width="28" height="28" loading="lazy" onError={() => setBroken(picture)} />
        : <span class="avatar" aria-hidden="true" style={{ "--tint": tint(name) }}>{initials(name)}</span>}
      <span class="who"><span class="username" title={name}>{name}</span>{children}</span>
    </span>
  );
}

/** state is what a user's name does not say: that somebody else may have it now, or that nobody is behind it. */
const state = (u: UserActivity | UserLatency): string => [u.deleted ? "deleted" : "", u.kind === "human" ? "" : u.kind].filter((word) => word !== "").join(", ");

/** tint gives a name a color that stays. */
function tint(name: string): string {
  let sum = 0;
  for (const c of name) sum = (sum * 31 + (c.codePointAt(0) ?? 0)) % 360;
  return String(sum);
}

/** Search is the field by which people are found, by name. */
export function Search({ view, change }: Pick<Frame, "view" | "change">) {
  const [text, setText] = useState(view.search);
  const told = useRef(view.search), latest = useRef(change); // what the field said last, which is no news to it
  latest.current = change;
  useEffect(() => {
    if (view.search === told.current) return;
    told.current = view.search;
    setText(view.search);
  }, [view.search]);
  useEffect(() => {
    const later = setTimeout(() => {
      if (text === told.current) return;
      told.current = text;
      latest.current({ search: text }, "replace");
    }, 250);
    return () => clearTimeout(later);
  }, [text]);
  return <input type="search" id="search" value={text} maxLength={100} placeholder="Find people" aria-label="Find people by name" onInput={(e) => setText(e.currentTarget.value)} />;
}

interface ActivityProps extends Frame {
  answer: Answer<GetUserActivityResponse>;
}

export function Activity(p: ActivityProps) {
  const used = (u: UserActivity) => u.template_ids.map((id) => p.names.get(id) ?? id);
  const sort = (
    <select aria-label="Order of user activity" value={p.view.usersSort} onChange={(e) => p.change({ usersSort: e.currentTarget.value, usersPage: 1 })}>
      <option value="">Most time</option>
      <option value="username">Name</option>
    </select>
  );
  return (
    <Panel {...p} id="activity" title="User activity" hint="Connected hours: an editor, terminal or app was open and connected; they are no working time. Choose a name to see what they went into." section="user_activity" file={p.files.activity} tools={sort} empty={(a) => (a.report?.total_users ?? 0) === 0 && p.view.search === ""}>
      {(a) => {
        const users = a.report?.users ?? [], total = a.report?.total_users ?? 0, most = Math.max(1, ...users.map((u) => u.seconds));
        return (
          <>
            {users.length === 0 && <Nobody search={p.view.search} />}
            <ol class="people">
              {users.map((u) => (
                <li key={u.user_id}>
                  <details>
                    <summary>
                      <Person name={u.username} picture={u.avatar_url}><small>{[plural(u.active_days, "day"), state(u)].filter((word) => word !== "").join(", ")}</small></Person>
                      <span class="track"><span class="fill" style={{ width: (100 * u.seconds) / most + "%" }} /></span>
                      <span class="figure" title={count(u.seconds) + " s"}>{duration(u.seconds)}</span>
                    </summary>
                    <dl>
                      {u.apps.map((app) => <div key={app.type + app.slug + app.display_name}><dt>{app.display_name || app.slug}</dt><dd>{duration(app.seconds)}</dd></div>)}
                      {u.apps.length === 0 && <div><dt>Nothing that has a name</dt><dd /></div>}
                      <div class="wide"><dt>{plural(u.template_ids.length, "template")}</dt><dd>{used(u).join(", ")}</dd></div>
                      <div><dt>Median active day</dt><dd>{duration(u.median_daily_seconds)}</dd></div>
                    </dl>
                  </details>
                </li>
              ))}
            </ol>
            <Pages page={p.view.usersPage} size={pageSize} total={total} label="Pages of user activity" go={(usersPage) => p.change({ usersPage })} />
          </>
        );
      }}
    </Panel>
  );
}

function Nobody({ search }: { search: string }) {
  return <p class="note">{search === "" ? "There is nobody on this page." : `Nobody is called like “${search}”.`}</p>;
}

/** marks go with the words of ratings, so that colors are not the only thing that tells them apart. */
const marks: Record<string, string> = { good: "●", moderate: "▲", poor: "■", unknown: "○" };

export function Rating({ of }: { of: string }) {
  return <span class={"rating " + of}><i aria-hidden="true">{marks[of] ?? "○"}</i>{of}</span>;
}

interface LatencyProps extends Frame {
  answer: Answer<GetUserLatencyResponse>;
}

export function Latency(p: LatencyProps) {
  const sort = (
    <select aria-label="Order of latency" value={p.view.latencySort} onChange={(e) => p.change({ latencySort: e.currentTarget.value, latencyPage: 1 })}>
      <option value="">Slowest P95</option>
      <option value="p50">Slowest P50</option>
      <option value="username">Name</option>
    </select>
  );
  return (
    <Panel {...p} id="latency" title="Latency" hint="Round trips measured by agents, one sample a minute. Good is below 150 ms, poor above 300 ms." section="user_latency" file={p.files.latency} tools={sort} empty={(a) => (a.report?.total_users ?? 0) === 0 && p.view.search === ""}>
      {(a) => {
        const users = a.report?.users ?? [];
        return (
          <>
            {users.length === 0 && <Nobody search={p.view.search} />}
            {users.length > 0 && (
              <table class="latencies">
                <thead><tr><th scope="col">User</th><th scope="col" class="number">P50</th><th scope="col" class="number">P95</th><th scope="col" class="number">Samples</th></tr></thead>
                <tbody>
                  {users.map((u) => (
                    <tr key={u.user_id}>
                      <th scope="row"><Person name={u.username} picture={u.avatar_url}>{state(u) !== "" && <small>{state(u)}</small>}</Person></th>
                      <td class="number">{latency(u.latency_ms?.p50 ?? -1)}<Rating of={u.latency_ms?.rating ?? "unknown"} /></td>
                      <td class="number">{latency(u.latency_ms?.p95 ?? -1)}<Rating of={u.latency_ms?.rating_p95 ?? "unknown"} /></td>
                      <td class="number faint">{count(u.latency_ms?.samples ?? 0)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
            <Pages page={p.view.latencyPage} size={pageSize} total={a.report?.total_users ?? 0} label="Pages of latency" go={(latencyPage) => p.change({ latencyPage })} />
          </>
        );
      }}
    </Panel>
  );
}
