// A client of grpc-web (application/grpc-web+proto) over fetch: calls, server streams, statuses with their details.

import { Codec } from "./protobuf.js";

const CODES = [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
];
/** What an answer without a status of gRPC means (gRPC's "HTTP to gRPC status code mapping"). */
const OF_HTTP = {
  400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED",
  429: "UNAVAILABLE", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "UNAVAILABLE",
};
/** The flag of a frame that holds trailers. */
const TRAILERS = 0x80;

/** Google's messages about errors; they are not in the server's own protos. */
const details = new Codec({
  enums: {},
  messages: {
    "google.protobuf.Any": [
      { number: 1, name: "type_url", kind: "string" },
      { number: 2, name: "value", kind: "bytes" },
    ],
    "google.rpc.Status": [{ number: 3, name: "details", kind: "message", type: "google.protobuf.Any", repeated: true }],
    "google.rpc.BadRequest": [
      {
        number: 1,
        name: "field_violations",
        kind: "message",
        type: "google.rpc.BadRequest.FieldViolation",
        repeated: true,
      },
    ],
    "google.rpc.BadRequest.FieldViolation": [
      { number: 1, name: "field", kind: "string" },
      { number: 2, name: "description", kind: "string" },
    ],
  },
});

/** A call that failed. */
export class RpcError extends Error {
  /** `code` is a name, such as "NOT_FOUND"; `violations` tell which fields of the request are wrong, and why. */
  constructor(code, message, violations = []) {
    super(message || code);
    this.code = code;
    this.violations = violations;
  }
}

/** Calls services by the schema. */
export class Client {
  #schema;
  #codec;
  #token;

  /** `token` tells what to show to the server: a string, or nothing. */
  constructor(schema, token) {
    this.#schema = schema;
    this.#codec = new Codec(schema);
    this.#token = token;
  }

  /** The answer to one request. */
  async call(service, method, request = {}, { signal } = {}) {
    let answer;
    // To the end: the connection is good for another call then.
    for await (const message of this.stream(service, method, request, { signal })) answer = message;
    if (!answer) throw new RpcError("INTERNAL", `${method} was answered with nothing`);
    return answer;
  }

  /** The answers to one request, as they come. Ends with an error if the call does. */
  async *stream(service, method, request = {}, { signal } = {}) {
    const { input, output } = this.#schema.services[service][method];
    const response = await this.#post(`/${service}/${method}`, this.#codec.encode(input, request), signal);
    throwUnlessOk(response.headers);
    if (!response.ok) {
      throw new RpcError(OF_HTTP[response.status] ?? "UNKNOWN", `the server answered with HTTP ${response.status}`);
    }
    let last;
    for await (const { flags, body } of frames(response.body.getReader())) {
      if (flags & TRAILERS) last = new Map(trailers(body));
      else yield this.#codec.decode(output, body);
    }
    if (!last) throw new RpcError("UNAVAILABLE", "the connection broke");
    throwUnlessOk(last);
  }

  async #post(path, message, signal) {
    const body = new Uint8Array(5 + message.length);
    new DataView(body.buffer).setUint32(1, message.length);
    body.set(message, 5);
    const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
    const token = this.#token();
    if (token) headers.authorization = `Bearer ${token}`;
    return reached(fetch(path, { method: "POST", headers, body, signal, cache: "no-store", credentials: "omit" }));
  }
}

/** What the network does to a promise, as a status; a call that was taken back stays an AbortError. */
async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RpcError("UNAVAILABLE", "the server does not answer");
  }
}

/** The frames of an answer: a byte of flags, four of length, the body. */
export async function* frames(reader) {
  const waiting = [];
  let have = 0;
  const take = (count) => {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const part = waiting[0].subarray(0, count - at);
      bytes.set(part, at);
      at += part.length;
      if (part.length === waiting[0].length) waiting.shift();
      else waiting[0] = waiting[0].subarray(part.length);
    }
    have -= count;
    return bytes;
  };
  const fill = async (count) => {
    while (have < count) {
      const { done, value } = await reached(reader.read());
      if (done) return false;
      waiting.push(value);
      have += value.length;
    }
    return true;
  };
  try {
    while (await fill(5)) {
      const head = take(5);
      const length = new DataView(head.buffer).getUint32(1);
      if (!(await fill(length))) return;
      yield { flags: head[0], body: take(length) };
    }
  } finally {
    // Whoever does not want the rest tells the server.
    reader.cancel().catch(() => {});
  }
}

function* trailers(body) {
  for (const line of new TextDecoder().decode(body).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) yield [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }
}

/** `head` has the status by `get`, if there is one. */
function throwUnlessOk(head) {
  const status = head.get("grpc-status");
  if (status === null || status === undefined || status === "0") return;
  const message = decoded(head.get("grpc-message") ?? "");
  throw new RpcError(CODES[status] ?? "UNKNOWN", message, violations(head.get("grpc-status-details-bin")));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The fields that a status complains about. */
function violations(encoded) {
  if (!encoded) return [];
  const bytes = Uint8Array.from(atob(encoded.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
  return details
    .decode("google.rpc.Status", bytes)
    .details.filter((any) => any.type_url.endsWith("/google.rpc.BadRequest"))
    .flatMap((any) => details.decode("google.rpc.BadRequest", any.value).field_violations);
}
