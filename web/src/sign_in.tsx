// Signing in: with a token, through the issuer, or by a link that works once.

import { InsightsError } from "@template-insights/client";
import { useEffect, useState } from "preact/hooks";
import { reasonOf, signIn } from "./api";
import { Logo } from "./logo";

const here = "insights-address";

/** comeBack returns to the address that somebody came for before the issuer sent them elsewhere. */
export function comeBack(): void {
  const address = sessionStorage.getItem(here);
  sessionStorage.removeItem(here);
  if (address?.startsWith("/") && !address.startsWith("//") && location.pathname === "/" && location.search === "") history.replaceState(null, "", address);
}

/** takeFragment reads what a link carries behind its #, which no server sees, and removes it from the address. */
export function takeFragment(): { token: string; failed: boolean } {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token") ?? "", failed = fragment.has("sign-in-failed");
  if (token !== "" || failed) history.replaceState(null, "", location.pathname + location.search);
  return { token, failed };
}

const told = (name: string): string => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
const offersIssuer = (): boolean => told("sign-in").split(" ").includes("oidc");

/** WithCoder says where a session token of Coder comes from, where those count. */
function WithCoder() {
  const url = told("coder-url").replace(/\/+$/, "");
  if (url === "") return null;
  return <p class="note">A session token of Coder counts, too: <a href={`${url}/cli-auth`} target="_blank" rel="noreferrer">get one from Coder</a>. The session ends with it.</p>;
}

interface Props {
  fragment: { token: string; failed: boolean };
  done: () => void;
}

export function SignIn({ fragment, done }: Props) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(fragment.failed ? "Signing in through your organization did not work. Try again, or ask who runs this service to look into its log." : "");
  const [busy, setBusy] = useState(fragment.token !== "");
  const tryToken = async (text: string, link: boolean) => {
    setBusy(true);
    setProblem("");
    try {
      await signIn(text);
      done();
    } catch (error) {
      setBusy(false);
      if (error instanceof InsightsError && error.status === 401) setProblem(link ? "This link was used before, or is too old. It works once." : "This token is not valid. It may have ended or been revoked.");
      else setProblem(reasonOf(error).text);
    }
  };
  useEffect(() => {
    document.title = "Sign in · Template Insights";
    if (fragment.token !== "") void tryToken(fragment.token, true);
  }, []);
  const submit = (e: Event) => {
    e.preventDefault();
    if (token.trim() === "") setProblem("Enter a token.");
    else void tryToken(token.trim(), false);
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <Logo size={40} />
        <h1>Template Insights</h1>
        <p class="hint">Who uses your workspace templates, with what, how long and how fast.</p>
        {offersIssuer() && <a class="button primary" href="/sign-in/oidc" onClick={() => sessionStorage.setItem(here, location.pathname + location.search)}>Sign in with your organization</a>}
        {offersIssuer() && <p class="or">or with a token</p>}
        <label for="token">Token</label>
        <input id="token" type="password" autocomplete="off" spellcheck={false} value={token} placeholder="tia_…" disabled={busy} onInput={(e) => setToken(e.currentTarget.value)} />
        <button type="submit" class={offersIssuer() ? "" : "primary"} disabled={busy}>{busy ? "Signing in …" : "Sign in"}</button>
        <p class="problem" role="alert">{problem}</p>
        <p class="note">A token begins with tia_. Ask an owner for one, or make one with <code>insights token create</code>.</p>
        <WithCoder />
      </form>
    </main>
  );
}
