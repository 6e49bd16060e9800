// The server as the page sees it: its calls, whether it is there, and who is let in.

import { RpcError } from "./grpc.js";

const SHORTEST = 500;
const LONGEST = 8000;
/** Milliseconds for an answer, where the caller does not say. */
const PATIENCE = 60_000;
/** Statuses that a server which is there does not give. */
const AWAY = ["UNAVAILABLE", "DEADLINE_EXCEEDED"];

/** Milliseconds to wait before the attempt after `failures` ones, with jitter so that pages do not come in step. */
export function backoff(failures, random = Math.random()) {
  const longest = Math.min(LONGEST, SHORTEST * 2 ** (failures - 1));
  return longest * (0.5 + random / 2);
}

/** Resolves after so many milliseconds; rejects with an AbortError if the signal comes first. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Calls the services. Tells of a `change` when the server goes or comes back. */
export class Server extends EventTarget {
  #client;
  #session;
  /** Why the server cannot be reached; null if it can. */
  away = null;

  constructor(client, session) {
    super();
    this.#client = client;
    this.#session = session;
  }

  /** One call. Waits for a token where the server wants one, and `patience` milliseconds for an answer. */
  async call(service, method, request, options = {}) {
    const token = this.#session.token;
    const late = AbortSignal.timeout(options.patience ?? PATIENCE);
    const signal = options.signal ? AbortSignal.any([options.signal, late]) : late;
    try {
      const answer = await this.#client.call(`centerx.v1.${service}`, method, request, { signal });
      this.#reached(null);
      return answer;
    } catch (error) {
      if (error.code !== "UNAUTHENTICATED") throw this.#failed(error);
      await this.#session.refused(token, error.message);
      return this.call(service, method, request, options);
    }
  }

  /** A stream, as long as it lasts. */
  async *stream(service, method, request, options) {
    const token = this.#session.token;
    try {
      for await (const message of this.#client.stream(`centerx.v1.${service}`, method, request, options)) {
        this.#reached(null);
        yield message;
      }
    } catch (error) {
      if (error.code !== "UNAUTHENTICATED") throw this.#failed(error);
      await this.#session.refused(token, error.message);
    }
  }

  /** A file of the server's own, such as a snapshot. */
  async file(path) {
    const token = this.#session.token;
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
    if (!response.ok) throw new RpcError("UNKNOWN", (await response.text()).trim() || `HTTP ${response.status}`);
    return response.blob();
  }

  #failed(error) {
    if (error.code === "PERMISSION_DENIED") this.#session.forbidden(error.message);
    if (AWAY.includes(error.code)) this.#reached(error.message);
    return error;
  }

  #reached(away) {
    if (away === this.away) return;
    this.away = away;
    this.dispatchEvent(new Event("change"));
  }
}
