// Which values workspaces chose for the parameters of templates.

import type { GetTemplateInsightsResponse, ParameterUsage, ParameterValue } from "@template-insights/client";
import type { Answer } from "./api";
import { count, plural, share } from "./format";
import { type Frame, Panel, type Sheet, Table } from "./panel";

interface Props extends Frame {
  answer: Answer<GetTemplateInsightsResponse>;
}

const most = 8; // values that are shown before the rest

const nameOf = (p: ParameterUsage): string => p.display_name || p.name;

const parametersOf = (a: GetTemplateInsightsResponse): ParameterUsage[] => a.report?.parameters_usage ?? [];

const textOf = (p: ParameterUsage, value: string): string => (p.sensitive ? "(not shown)" : p.options?.find((o) => o.value === value)?.name || value || "(empty)");

const noteOf = (p: ParameterUsage, v: ParameterValue): string => (v.hidden ? "looks like a credential" : v.orphan ? "no longer offered" : v.value === p.default_value ? "default" : "");

const listed = 50; // values of a parameter that the table has, the most frequent ones, before the rest

// listedValues are the values of a parameter in their order, those beyond the most frequent ones together.
function listedValues(p: ParameterUsage): ParameterValue[] {
  const shown = new Set(p.values.filter((v) => !v.hidden).sort((a, b) => b.count - a.count).slice(0, listed));
  const kept = p.values.filter((v) => v.hidden || shown.has(v)), rest = p.values.filter((v) => !kept.includes(v));
  return rest.length === 0 ? kept : [...kept, { value: "(other)", count: rest.reduce((sum, v) => sum + v.count, 0) }];
}

function sheet(a: GetTemplateInsightsResponse): Sheet {
  return {
    columns: ["Parameter", "Name", "Type", "Value", "Workspaces", "Share", "Note"],
    rows: parametersOf(a).flatMap((p) => {
      const total = p.values.reduce((sum, v) => sum + v.count, 0);
      return [
        ...listedValues(p).map((v) => [nameOf(p), p.name, p.type, p.sensitive ? "(not shown)" : v.value, v.count, share(v.count, total), noteOf(p, v)]),
        ...(p.unused_options ?? []).map((value) => [nameOf(p), p.name, p.type, value, 0, share(0, total), "never chosen"]),
      ];
    }),
  };
}

export function Parameters(p: Props) {
  return (
    <Panel {...p} id="parameters" title="Parameters" hint="What workspaces that were started in this range chose; of each the newest start that succeeded counts." section="parameters_usage" chart file={p.files.parameters} empty={(a) => parametersOf(a).length === 0}>
      {(a, table) => (table ? <Table sheet={sheet(a)} label="Parameters" /> : (
        <div class="parameters">
          {parametersOf(a).map((parameter, i) => <Parameter key={parameter.name + i} parameter={parameter} templates={p.view.template === "" ? parameter.template_ids.map((id) => p.names.get(id) ?? id) : []} />)}
        </div>
      ))}
    </Panel>
  );
}

function Parameter({ parameter: p, templates }: { parameter: ParameterUsage; templates: string[] }) {
  const values = [...p.values].sort((a, b) => b.count - a.count);
  const total = values.reduce((sum, v) => sum + v.count, 0), largest = values[0]?.count ?? 1;
  const rest = values.slice(most).reduce((sum, v) => sum + v.count, 0);
  const row = (value: string, n: number, note: string) => (
    <li key={value + note} class="bar">
      <span class="name" title={value}>{value}{note !== "" && <small class={note === "default" ? "" : "warn"}>{note}</small>}</span>
      <span class="track"><span class="fill" style={{ width: (100 * n) / largest + "%" }} /></span>
      <span class="figure">{count(n)}</span>
      <span class="figure faint">{share(n, total)}</span>
    </li>
  );
  return (
    <article>
      <h3>{nameOf(p)} <small>{p.name} · {p.type}</small></h3>
      {p.description !== "" && <p class="hint">{p.description}</p>}
      <ul class="bars">
        {values.slice(0, most).map((v) => row(v.hidden ? v.value : textOf(p, v.value), v.count, noteOf(p, v)))}
        {rest > 0 && row(plural(values.length - most, "other value"), rest, "")}
      </ul>
      {(p.unused_options ?? []).length > 0 && <p class="note">Nobody chose {(p.unused_options ?? []).map((value) => textOf(p, value)).join(", ")}.</p>}
      {templates.length > 0 && templates.length < 4 && <p class="note">In {templates.join(", ")}.</p>}
    </article>
  );
}
