export class InsightsError extends Error {
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

}
