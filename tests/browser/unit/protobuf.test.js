// The codec against bytes that prost made (tests/browser/codec.rs): CASES names a file of
// [{ type, bytes (hex), value }], SCHEMA the server's schema.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { Codec } from "../../../src/http/page/protobuf.js";

const schema = JSON.parse(readFileSync(process.env.SCHEMA, "utf8"));
const cases = JSON.parse(readFileSync(process.env.CASES, "utf8"));
const codec = new Codec(schema);

/** JSON has no maps, bytes or large numbers. */
function plain(value) {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [key, plain(one)]));
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString("hex") };
  if (typeof value === "bigint") return { big: String(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

test("there are cases", () => assert.ok(cases.length >= 8));

for (const { type, bytes, value } of cases) {
  test(`${type} is read as prost wrote it, and written as prost reads it`, () => {
    const read = codec.decode(type, Buffer.from(bytes, "hex"));
    assert.deepEqual(plain(read), value);
    assert.equal(Buffer.from(codec.encode(type, read)).toString("hex"), bytes);
  });
}

test("fields of a newer server are passed over", () => {
  const known = codec.encode("centerx.v1.GetCameraRequest", { id: "yard" });
  // Field 100 of each wire type.
  const unknown = [[0xa0, 6, 150, 1], [0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8], [0xa2, 6, 2, 7, 7], [0xa5, 6, 1, 2, 3, 4]];
  const bytes = Uint8Array.from([...unknown.flat(), ...known]);
  assert.deepEqual(codec.decode("centerx.v1.GetCameraRequest", bytes), { id: "yard" });
});

test("a value of a newer enum stays a number", () => {
  const read = codec.decode("centerx.v1.CameraStatus", Uint8Array.from([8, 99]));
  assert.equal(read.state, 99);
});

test("bytes that end too early are refused", () => {
  const bytes = codec.encode("centerx.v1.GetCameraRequest", { id: "yard" });
  for (let length = 1; length < bytes.length; length += 1) {
    assert.throws(() => codec.decode("centerx.v1.GetCameraRequest", bytes.subarray(0, length)), RangeError);
  }
});

test("a slip in a field's name is told", () => {
  assert.throws(() => codec.encode("centerx.v1.GetCameraRequest", { name: "yard" }), /has no field name/);
});
