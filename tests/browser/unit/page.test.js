// What of the page needs no browser.

import assert from "node:assert/strict";
import test from "node:test";

import { Presence } from "../../../src/http/page/events.js";
import { Track } from "../../../src/http/page/fleet.js";
import { Client, frames, RpcError } from "../../../src/http/page/grpc.js";
import { backoff } from "../../../src/http/page/server.js";
import { Session } from "../../../src/http/page/session.js";
import * as words from "../../../src/http/page/words.js";

/** A reader that gives bytes in pieces of a size. */
function pieces(bytes, size) {
  let at = 0;
  return {
    cancel: async () => {},
    read: async () => {
      if (at >= bytes.length) return { done: true };
      return { done: false, value: bytes.subarray(at, (at += size)) };
    },
  };
}

const frame = (flags, text) => Buffer.concat([Buffer.from([flags, 0, 0, 0, text.length]), Buffer.from(text)]);

test("frames are put together however they were cut", async () => {
  const bytes = Buffer.concat([frame(0, "one"), frame(0, ""), frame(128, "grpc-status:0")]);
  for (let size = 1; size <= bytes.length; size += 1) {
    const seen = [];
    for await (const { flags, body } of frames(pieces(bytes, size))) seen.push([flags, Buffer.from(body).toString()]);
    assert.deepEqual(seen, [[0, "one"], [0, ""], [128, "grpc-status:0"]]);
  }
});

const SCHEMA = {
  enums: {},
  messages: { "p.Text": [{ number: 1, name: "text", kind: "string" }] },
  services: { "p.S": { Say: { input: "p.Text", output: "p.Text", stream: false } } },
};

/** Answers the next call with these bytes and headers. */
function answer(bytes, headers = {}, status = 200) {
  globalThis.fetch = async (path, init) => {
    answer.asked = { path, init };
    return new Response(bytes, { status, headers });
  };
}

test("a call shows its token and gives its answer", async () => {
  answer(Buffer.concat([frame(0, "\n\x02hi"), frame(128, "grpc-status: 0\r\ngrpc-message: \r\n")]));
  const client = new Client(SCHEMA, () => "secret");
  assert.deepEqual(await client.call("p.S", "Say", { text: "x" }), { text: "hi" });
  assert.equal(answer.asked.path, "/p.S/Say");
  assert.equal(answer.asked.init.headers.authorization, "Bearer secret");
  assert.deepEqual([...answer.asked.init.body], [0, 0, 0, 0, 3, 10, 1, 120]);
});

test("a refusal tells its code, its words and its fields", async () => {
  // A google.rpc.Status with a BadRequest about camera.url.
  const field = Buffer.concat([Buffer.from("\n\ncamera.url"), Buffer.from("\x12\x05wrong")]);
  const bad = Buffer.concat([Buffer.from([10, field.length]), field]);
  const type = "type.googleapis.com/google.rpc.BadRequest";
  const any = Buffer.concat([Buffer.from([10, type.length]), Buffer.from(type), Buffer.from([18, bad.length]), bad]);
  const status = Buffer.concat([Buffer.from([8, 3, 26, any.length]), any]);
  const headers = {
    "grpc-status": "3",
    "grpc-message": "camera.url%3A w%C3%B6rds",
    "grpc-status-details-bin": status.toString("base64").replace(/=+$/, ""),
  };
  answer(null, headers);
  const error = await new Client(SCHEMA, () => null).call("p.S", "Say").catch((failure) => failure);
  assert.ok(error instanceof RpcError);
  assert.equal(error.code, "INVALID_ARGUMENT");
  assert.equal(error.message, "camera.url: wörds");
  assert.deepEqual(error.violations, [{ field: "camera.url", description: "wrong" }]);
});

test("what the network does is told as UNAVAILABLE", async () => {
  const client = new Client(SCHEMA, () => null);
  const code = () => client.call("p.S", "Say").then(() => "OK", (error) => error.code);
  answer(frame(0, "\n\x02hi"));
  assert.equal(await code(), "UNAVAILABLE", "an answer without a status");
  answer("busy", {}, 503);
  assert.equal(await code(), "UNAVAILABLE");
  answer("not found", {}, 404);
  assert.equal(await code(), "UNIMPLEMENTED");
  globalThis.fetch = async () => {
    throw new TypeError("Failed to fetch");
  };
  assert.equal(await code(), "UNAVAILABLE");
});

test("attempts come ever later, up to a limit, and never in step", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 9].map((failures) => backoff(failures, 1)), [500, 1000, 2000, 4000, 8000, 8000]);
  assert.equal(backoff(3, 0), 1000);
});

const accounts = (received, published, dropped) => ({ received, published, dropped: new Map(Object.entries(dropped)) });

test("rates are those of the last ten seconds", () => {
  const track = new Track();
  assert.equal(track.rates().published, undefined);
  for (let second = 0; second <= 30; second += 2) {
    const late = Math.max(0, second - 20);
    track.add(second * 1000, accounts(second * 10, second * 10 - late * 2, { too_old: late * 2, superseded: 0 }));
  }
  assert.deepEqual(track.rates(), { received: 10, published: 8, dropped: new Map([["too_old", 2]]) });
  track.add(32_000, accounts(3, 3, {}));
  assert.equal(track.rates().published, undefined, "counted anew after a restart");
});

test("what flickers neither goes nor comes", () => {
  const presence = new Presence();
  const person = { label: "person", class_id: 0, score: 0.7 };
  assert.deepEqual(presence.see([person, person], 0).map(({ kind }) => kind), ["appeared"]);
  for (let time = 1900; time < 8000; time += 1900) {
    assert.deepEqual([...presence.see([], time - 100), ...presence.see([person], time)], []);
  }
  const gone = presence.see([], 9700);
  assert.deepEqual(gone.map(({ kind, label }) => [kind, label]), [["gone", "person"]]);
  assert.equal(presence.see([person], 9800)[0].kind, "appeared");
});

test("a refused token is asked for once, and calls go on with the next", async () => {
  const kept = new Map();
  const store = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  const session = new Session(store);
  const waiting = [session.refused(null, "asks for a token"), session.refused(null, "asks for a token")];
  assert.equal(session.wanted, "asks for a token");
  session.use("right");
  await Promise.all(waiting);
  assert.equal(session.wanted, null);
  // A refusal of the token before comes late.
  await session.refused(null, "asks for a token");
  assert.equal(session.wanted, null);
});

test("figures are short", () => {
  assert.deepEqual([undefined, 0, 5, 9.97, 24.6].map(words.fps), ["–", "0.0", "5.0", "10", "25"]);
  assert.deepEqual([0, 0.0004, 0.012, 0.5].map(words.percent), ["0 %", "< 0.1 %", "1.2 %", "50 %"]);
  assert.deepEqual([undefined, 84.2, 1500].map(words.age), ["–", "84 ms", "1.5 s"]);
  assert.deepEqual([900, 65_000, 7_300_000].map(words.span), ["1 s", "1 min", "2 h"]);
  assert.equal(words.objects([{ label: "car" }, { label: "person" }, { label: "person" }]), "2 person, 1 car");
  assert.deepEqual(words.protoTime(1500), { seconds: 1, nanos: 500_000_000 });
  assert.equal(words.milliseconds(words.protoTime(250.5)), 250.5);
});
