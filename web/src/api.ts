// Questions to the server, and what became of them.

import { InsightsClient, InsightsError, type WhoAmIResponse } from "@template-insights/client";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

// The clocks of people may be wrong; what the server calls today counts.
let ahead = 0;

/** serverNow is the time by the clock of the server. */
export const serverNow = (): number => Date.now() - ahead;

// A caller has a few questions answered at a time; more would only wait there.
const atOnce = 4;
const patience = 45_000;
let running = 0;
const waiting: (() => void)[] = [];

async function turn(signal: AbortSignal | null | undefined): Promise<void> {
  while (running >= atOnce) await new Promise<void>((go) => waiting.push(go));
  if (signal?.aborted) {
    waiting.shift()?.();
    throw signal.reason;
  }
  running++;
}

async function ask(url: string, init: RequestInit): Promise<Response> {
  await turn(init.signal);
  try {
    const timeout = AbortSignal.timeout(patience);
    const answer = await fetch(url, { ...init, credentials: "same-origin", signal: init.signal ? AbortSignal.any([init.signal, timeout]) : timeout });
    const told = Date.parse(answer.headers.get("Date") ?? "");
    if (!Number.isNaN(told) && Math.abs(Date.now() - told) > 2000) ahead = Date.now() - told;
    return answer;
  } finally {
    running--;
    waiting.shift()?.();
  }
}

export const client = new InsightsClient({ fetch: ask });

/** signIn begins a session with a token. */
export const signIn = (token: string): Promise<unknown> => new InsightsClient({ fetch: ask, token }).signIn();

/** whoIsThere asks who is signed in; null: nobody. That is no error here, which a browser would write down. */
export async function whoIsThere(signal: AbortSignal): Promise<WhoAmIResponse | null> {
  const answer = await ask("/sign-in/session", { signal });
  if (!answer.ok) throw new InsightsError(answer.status, await answer.json().catch(() => undefined));
  return answer.json() as Promise<WhoAmIResponse | null>;
}

/** isDown reports whether an error is of a server that is not there, and not of one question. */
export function isDown(error: unknown): boolean {
  if (error instanceof InsightsError) return error.status === 502 || error.status === 503;
  return error !== undefined && !(error instanceof DOMException && error.name === "TimeoutError");
}

// Questions that a server that is down did not answer: what asks them again, and what went wrong.
const unanswered = new Map<() => void, unknown>();

/** askAgain asks all of them again. */
export const askAgain = (): void => [...unanswered.keys()].forEach((retry) => retry());

/** useOutage is why questions have no answer, if the server is down. */
export function useOutage(): unknown {
  const first = () => [...unanswered.values()][0];
  const [error, setError] = useState<unknown>(first);
  useEffect(() => {
    const look = () => setError(first);
    addEventListener("unanswered", look);
    look();
    return () => removeEventListener("unanswered", look);
  }, []);
  return error;
}

/** Answer is what is known of a question. While a new one is asked the old answer stays. */
export interface Answer<T> {
  value?: T;
  error?: unknown;
  loading: boolean;
  retry: () => void;
}

/**
 * useAnswer asks a question whenever its key changes. A key of undefined is no question. What is known already stays until the next answer
 * is there, unless it is about something else.
 */
export function useAnswer<T>(key: string | undefined, question: (signal: AbortSignal) => Promise<T>, about = ""): Answer<T> {
  const [state, setState] = useState<{ value?: T; error?: unknown; key?: string; about?: string }>({});
  const [attempt, setAttempt] = useState(0);
  const latest = useRef(question);
  latest.current = question;
  useEffect(() => {
    if (key === undefined) {
      setState({});
      return;
    }
    const stop = new AbortController();
    latest.current(stop.signal).then(
      (value) => !stop.signal.aborted && setState({ value, key, about }),
      (error: unknown) => {
        if (stop.signal.aborted) return;
        if (error instanceof InsightsError && error.status === 401) dispatchEvent(new Event("signed-out"));
        setState({ error, key, about });
      },
    );
    return () => stop.abort();
  }, [key, attempt]);
  const retry = useCallback(() => {
    setState({});
    setAttempt((n) => n + 1);
  }, []);
  useEffect(() => {
    if (!isDown(state.error)) return;
    unanswered.set(retry, state.error);
    dispatchEvent(new Event("unanswered"));
    return () => {
      unanswered.delete(retry);
      dispatchEvent(new Event("unanswered"));
    };
  }, [state.error]);
  const { value, error } = state.about === about ? state : {};
  return { ...(value === undefined ? {} : { value }), ...(error === undefined ? {} : { error }), loading: key !== undefined && state.key !== key, retry };
}

/** reasonOf says why a question has no answer, and whether asking again may help. */
export function reasonOf(error: unknown): { title: string; text: string } {
  if (error instanceof InsightsError) {
    const detail = error.validations.map((v) => v.detail).join(" ") || error.detail;
    if (error.status === 404 || error.status === 403) return { title: "Not for you", text: "You may not see this, or it does not exist. Ask an owner or an admin of the template for view_insights." };
    if (error.status === 429) return { title: "Too many questions at once", text: "Wait a moment, then try again." };
    if (error.status >= 500) return { title: "The server could not answer", text: [error.message, detail].join(" ").trim() };
    return { title: "The question was refused", text: [error.message, detail].join(" ").trim() };
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return { title: "No answer in time", text: "The server did not answer within 45 seconds. A shorter range is quicker." };
  return { title: "The server cannot be reached", text: "Check that it runs and that you are connected, then try again." };
}
