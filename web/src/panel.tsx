// The frame of each panel: its title, what can be done with it, and what it says when it has nothing to show.

import type { Finding } from "@template-insights/client";
import type { ComponentChildren } from "preact";
import { type Answer, askAgain, isDown, reasonOf, useOutage } from "./api";
import { dayOf } from "./calendar";
import type { Files } from "./export";
import { count, forPeople } from "./format";
import { type Change, type View, zoneOf } from "./view";

/** Frame is what all panels know. */
export interface Frame {
  view: View;
  change: Change;
  findings: Finding[];
  names: Map<string, string>; // of templates, by id
  files: Files;
}

/** Sheet is what a table shows. */
export interface Sheet {
  columns: string[];
  rows: (string | number)[][];
}

interface PanelProps<T> extends Frame {
  id: string;
  title: string;
  hint: string;
  answer: Answer<T>;
  section?: string; // whose findings explain it
  empty?: (value: T) => boolean;
  file: string; // address of all that it shows, as CSV
  chart?: boolean; // it can be shown as a table
  tools?: ComponentChildren;
  children: (value: T, table: boolean) => ComponentChildren;
}

/** Panel shows an answer, or says why there is none and what to do. */
export function Panel<T>(p: PanelProps<T>) {
  const { answer, view, change, id } = p;
  const table = p.chart === true && view.tables.includes(id);
  const toggle = () => change({ tables: table ? view.tables.filter((name) => name !== id) : [...view.tables, id].sort() });
  const empty = answer.value !== undefined && p.empty?.(answer.value) === true;
  return (
    <section class={"panel panel-" + id} aria-labelledby={id + "-title"} aria-busy={answer.loading} data-panel={id}>
      <header>
        <div>
          <h2 id={id + "-title"}>{p.title}</h2>
          <p class="hint">{p.hint}</p>
        </div>
        <div class="tools">
          {p.tools}
          {p.chart && <button type="button" class="quiet" aria-pressed={table} onClick={toggle}>Table</button>}
          <a class="button quiet" href={p.file} download aria-label={"Export " + p.title + " as CSV"}>CSV</a>
        </div>
      </header>
      <div class="body">
        {answer.error !== undefined ? <Failed error={answer.error} retry={answer.retry} />
          : answer.value === undefined ? <div class="skeleton" role="status"><span class="hidden">Loading {p.title}</span></div>
          : empty ? <Empty {...p} section={p.section ?? ""} />
          : p.children(answer.value, table)}
      </div>
    </section>
  );
}

/** Failed says what went wrong with one question. That the server is down is said once, by Outage. */
export function Failed({ error, retry }: { error: unknown; retry: () => void }) {
  if (isDown(error)) return <div class="state"><p class="faint">No answer.</p></div>;
  const { title, text } = reasonOf(error);
  return (
    <div class="state" role="alert">
      <h3>{title}</h3>
      <p>{text}</p>
      <button type="button" onClick={retry}>Try again</button>
    </div>
  );
}

/** Outage says that the server is down, and asks all again that it did not answer. */
export function Outage() {
  const error = useOutage();
  if (error === undefined) return null;
  const { title, text } = reasonOf(error);
  return (
    <div class="outage" role="alert">
      <p><b>{title}</b> {text}</p>
      <button type="button" onClick={askAgain}>Try again</button>
    </div>
  );
}

const headings: Record<string, string> = { small_groups: "Hidden", not_published: "Not published yet" };

/** Empty says why there is nothing, as far as the server knows. */
function Empty({ findings, section, view, change }: Frame & { section: string }) {
  const finding = findings.find((f) => f.sections.includes(section));
  if (!finding) return <div class="state"><h3>Nothing in this range</h3><p>Nothing was reported for these days.</p></div>;
  const first = finding.first_at, last = finding.last_at;
  const zone = zoneOf(view);
  return (
    <div class="state" data-reason={finding.reason}>
      <h3>{headings[finding.reason] ?? "Nothing in this range"}</h3>
      <p>{forPeople(finding.message, zone)}</p>
      <p>{finding.next_step}</p>
      {finding.reason === "out_of_range" && first && last && (
        <button type="button" onClick={() => change({ range: "", from: dayOf(Date.parse(first), zone), to: dayOf(Date.parse(last), zone) })}>Show the days with data</button>
      )}
    </div>
  );
}

/** Table shows a sheet. Columns of numbers, and of shares, are on the right. */
export function Table({ sheet, label }: { sheet: Sheet; label: string }) {
  const side = (column: number) => (column > 0 && sheet.rows.every((row) => typeof row[column] === "number" || /^(<? ?[\d.]+ %|–)$/.test(String(row[column]))) ? "number" : "");
  const sides = sheet.columns.map((_, i) => side(i));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label + " as a table"}>
      <table>
        <thead><tr>{sheet.columns.map((name, i) => <th scope="col" key={name} class={sides[i] ?? ""}>{name}</th>)}</tr></thead>
        <tbody>
          {sheet.rows.map((row, i) => (
            <tr key={i}>{row.map((value, j) => (j === 0 ? <th scope="row" key={j}>{value}</th> : <td key={j} class={sides[j] ?? ""}>{typeof value === "number" ? count(value) : value}</td>))}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Pages leads through the pages of a list. */
export function Pages({ page, size, total, label, go }: { page: number; size: number; total: number; label: string; go: (page: number) => void }) {
  const pages = Math.max(1, Math.ceil(total / size));
  if (pages === 1) return null;
  const first = (page - 1) * size + 1;
  return (
    <nav class="pages" aria-label={label}>
      <button type="button" class="quiet" disabled={page <= 1} onClick={() => go(page - 1)}>Previous</button>
      <span>{first <= total ? `${first}–${Math.min(total, page * size)} of ${total}` : `none of ${total}`}</span>
      <button type="button" class="quiet" disabled={page >= pages} onClick={() => go(page >= pages ? pages : page + 1)}>Next</button>
    </nav>
  );
}
