/** InsightsError is an answer with a status of 400 and above. */
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
  constructor(options?: ClientOptions);
}
