// What officers are asked until somebody decided how much is known about persons.

import type { WhoAmIResponse } from "@template-insights/client";
import { useState } from "preact/hooks";
import { client, reasonOf, useAnswer } from "./api";

const modes: [string, string, string][] = [
  ["full", "Named", "Everything is kept, and answers name people."],
  ["pseudonym", "Pseudonyms", "Lists show people under pseudonyms; totals are of groups only."],
  ["aggregate", "Groups only", "Nothing about single people is shown; totals are of groups only, and no latencies are kept."],
  ["off", "Nothing", "What comes in is not kept."],
];

/** Undecided asks who may set the mode of the deployment, if nobody ever did. */
export function Undecided({ me }: { me: WhoAmIResponse }) {
  const may = me.grants.some((g) => g.permission === "manage_privacy" && !g.organization_id && !g.template_id);
  const known = useAnswer(may ? "privacy" : undefined, (signal) => client.getPrivacyMode({}, { signal }));
  const [mode, setMode] = useState("full"), [problem, setProblem] = useState("");
  if (known.value === undefined || known.value.since !== undefined) return null;
  // All that is shown was told in the mode before.
  const decide = () => client.setPrivacyMode({ mode }).then(() => location.reload(), (error: unknown) => setProblem(reasonOf(error).text));
  return (
    <form class="undecided" aria-labelledby="undecided" onSubmit={(e) => { e.preventDefault(); void decide(); }}>
      <h2 id="undecided">How much may be known about persons?</h2>
      <p class="note">Nobody decided yet, so people are named. The mode can be changed later; what was shown until then was seen.</p>
      {modes.map(([value, name, meaning]) => (
        <label key={value}><input type="radio" name="mode" value={value} checked={mode === value} onChange={() => setMode(value)} /> <b>{name}</b> {meaning}</label>
      ))}
      <button type="submit" class="primary">Decide</button>
      <p class="problem" role="alert">{problem}</p>
    </form>
  );
}
