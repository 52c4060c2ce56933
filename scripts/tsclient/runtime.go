package main

// manifest is the package.json.
const manifest = `{
  "name": "@template-insights/client",
  "description": "Client of the REST API of Template Insights.",
  "license": "Apache-2.0",
  "type": "module",
  "exports": {
    ".": {
      "types": "./index.d.ts",
      "default": "./index.js"
    }
  }
}`

// runtime begins the class of the client, which the methods of the RPCs follow.
const runtime = `export class InsightsError extends Error {
  constructor(status, body) {
    super(body?.message ?? "HTTP status " + status);
    this.name = "InsightsError";
    this.status = status;
    this.detail = body?.detail ?? "";
    this.validations = body?.validations ?? [];
  }
}

function addParameters(query, prefix, request) {
  for (const [name, value] of Object.entries(request)) {
    if (Array.isArray(value)) {
      if (value.length > 0) query.append(prefix + name, value.join(","));
    } else if (value !== null && typeof value === "object") {
      addParameters(query, prefix + name + ".", value);
    } else if (value !== undefined && value !== null && value !== "") {
      query.append(prefix + name, String(value));
    }
  }
}

export class InsightsClient {
  #server;
  #token;
  #fetch;

  constructor({ server = "", token = "", fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this.#server = server;
    this.#token = token;
    this.#fetch = fetch;
  }

  async #call(method, path, request, { signal } = {}) {
    const rest = { ...request };
    let url = this.#server + path.replace(/{(\w+)}/g, (_, name) => {
      const value = encodeURIComponent(String(rest[name] ?? ""));
      delete rest[name];
      return value;
    });
    const headers = { Accept: "application/json" };
    if (this.#token !== "") headers.Authorization = "Bearer " + this.#token;
    let body;
    if (method === "POST") {
      headers["Content-Type"] = "application/json";
      body = JSON.stringify(rest);
    } else {
      const query = new URLSearchParams();
      addParameters(query, "", rest);
      if (query.size > 0) url += "?" + query;
    }
    const answer = await this.#fetch(url, { method, headers, body, signal });
    if (!answer.ok) throw new InsightsError(answer.status, await answer.json().catch(() => undefined));
    return answer.json();
  }
`

// runtimeTypes are the types of the above.
const runtimeTypes = `/** InsightsError is an answer with a status of 400 and above. */
export class InsightsError extends globalThis.Error {
  /** The status of HTTP. */
  readonly status: number;
  /** More about this occurrence, for people. Empty: there is no more. */
  readonly detail: string;
  /** The fields at fault. */
  readonly validations: Validation[];
  constructor(status: number, body?: Partial<Error>);
}

/** Input is a message of a request: what is left out has its default. */
export type Input<T> = T extends (infer U)[] ? Input<U>[] : T extends object ? { [K in keyof T]?: Input<T[K]> } : T;

/** ClientOptions say whom to ask, and as whom. */
export interface ClientOptions {
  /** Scheme and host of the server. Default: where the page comes from. */
  server?: string;
  /** A token. Default: none, for the page has a cookie. */
  token?: string;
  /** What makes requests. Default: that of the platform. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** CallOptions go with one call. */
export interface CallOptions {
  /** Ends the call early. */
  signal?: AbortSignal;
}

/** InsightsClient asks a server over REST. A call that is refused throws an InsightsError. */
export class InsightsClient {
  constructor(options?: ClientOptions);`
