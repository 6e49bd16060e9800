// Protobuf's wire format, driven by the schema that the server's build writes (/assets/schema.json).
//
// A message is an object with the field names of the protos. Scalars are always there; messages, `optional` fields and
// members of a oneof only if they were sent, and the oneof's own name tells which member was. Enums are names, maps
// are `Map`s, 64-bit integers are numbers where those are exact and BigInts where not.

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

const utf8 = new TextDecoder();
const toUtf8 = new TextEncoder();

const exact = (big) => (big >= Number.MIN_SAFE_INTEGER && big <= Number.MAX_SAFE_INTEGER ? Number(big) : big);

/** Reads one message's bytes. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  get isAtEnd() {
    return this.at >= this.bytes.length;
  }

  advance(count) {
    const at = this.at;
    if (at + count > this.bytes.length) throw new RangeError("a message ends too early");
    this.at += count;
    return at;
  }

  varint() {
    let low = 0;
    for (let shift = 0; shift < 49; shift += 7) {
      const byte = this.bytes[this.advance(1)];
      low += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return low;
    }
    let big = BigInt(low);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.advance(1)];
      big |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return exact(BigInt.asUintN(64, big));
    }
    throw new RangeError("a number takes more than ten bytes");
  }

  slice() {
    const length = Number(this.varint());
    const at = this.advance(length);
    return this.bytes.subarray(at, at + length);
  }

  skip(wire) {
    if (wire === VARINT) this.varint();
    else if (wire === FIXED64) this.advance(8);
    else if (wire === LENGTH) this.slice();
    else if (wire === FIXED32) this.advance(4);
    else throw new RangeError(`a field of the unknown wire type ${wire}`);
  }
}

/** Collects one message's bytes. */
class Writer {
  bytes = [];

  varint(value) {
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 127n) {
      this.bytes.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    this.bytes.push(Number(rest));
  }

  slice(bytes) {
    this.varint(bytes.length);
    for (const byte of bytes) this.bytes.push(byte);
  }

  fixed(size, set) {
    const view = new DataView(new ArrayBuffer(size));
    set(view);
    this.bytes.push(...new Uint8Array(view.buffer));
  }
}

const int64 = (value) => exact(BigInt.asIntN(64, BigInt(value)));
const unzigzag = (value) => exact((BigInt(value) >> 1n) ^ -(BigInt(value) & 1n));
const zigzag = (value) => (BigInt(value) << 1n) ^ (BigInt(value) >> 63n);
const integer = (read) => ({
  wire: VARINT,
  zero: 0,
  read: (from) => read(from.varint()),
  write: (to, value) => to.varint(value),
});
const fixed = (wire, size, get, set) => ({
  wire,
  zero: 0,
  read: (from) => get(from.view, from.advance(size)),
  write: (to, value) => to.fixed(size, (view) => set(view, value)),
});

/** How each kind of scalar travels. */
const SCALARS = {
  int32: integer((value) => Number(BigInt.asIntN(32, BigInt(value)))),
  int64: integer(int64),
  uint32: integer((value) => Number(BigInt.asUintN(32, BigInt(value)))),
  uint64: integer((value) => value),
  sint32: { ...integer(unzigzag), write: (to, value) => to.varint(zigzag(value)) },
  sint64: { ...integer(unzigzag), write: (to, value) => to.varint(zigzag(value)) },
  bool: { ...integer((value) => value !== 0), zero: false, write: (to, value) => to.varint(value ? 1 : 0) },
  fixed32: fixed(FIXED32, 4, (view, at) => view.getUint32(at, true), (view, value) => view.setUint32(0, value, true)),
  sfixed32: fixed(FIXED32, 4, (view, at) => view.getInt32(at, true), (view, value) => view.setInt32(0, value, true)),
  float: fixed(FIXED32, 4, (view, at) => view.getFloat32(at, true), (view, value) => view.setFloat32(0, value, true)),
  double: fixed(FIXED64, 8, (view, at) => view.getFloat64(at, true), (view, value) => view.setFloat64(0, value, true)),
  fixed64: fixed(
    FIXED64,
    8,
    (view, at) => exact(view.getBigUint64(at, true)),
    (view, value) => view.setBigUint64(0, BigInt(value), true),
  ),
  sfixed64: fixed(
    FIXED64,
    8,
    (view, at) => exact(view.getBigInt64(at, true)),
    (view, value) => view.setBigInt64(0, BigInt(value), true),
  ),
  string: {
    wire: LENGTH,
    zero: "",
    read: (from) => utf8.decode(from.slice()),
    write: (to, value) => to.slice(toUtf8.encode(value)),
  },
  bytes: {
    wire: LENGTH,
    zero: new Uint8Array(),
    read: (from) => from.slice(),
    write: (to, value) => to.slice(value),
  },
};

/** Turns bytes into messages and back. */
export class Codec {
  #messages = new Map();

  /** A codec of the messages and enums of a schema. */
  constructor(schema) {
    const enums = new Map(Object.entries(schema.enums).map(([name, values]) => [name, this.#enumeration(values)]));
    const types = (field) => this.#type(field, enums);
    for (const [name, fields] of Object.entries(schema.messages)) {
      const prepared = fields.map((field) => ({
        ...field,
        type: field.map ? this.#entry(field.map.map(types)) : types(field),
      }));
      this.#messages.set(name, { fields: prepared, byNumber: new Map(prepared.map((one) => [one.number, one])) });
    }
  }

  /** The message of this type in some bytes. */
  decode(type, bytes) {
    const { fields, byNumber } = this.#message(type);
    const message = {};
    for (const field of fields) setDefault(message, field);
    const from = new Reader(bytes);
    while (!from.isAtEnd) {
      const tag = Number(from.varint());
      const field = byNumber.get(tag >>> 3);
      // Fields of a newer server.
      if (field) readField(message, field, from, tag & 7);
      else from.skip(tag & 7);
    }
    return message;
  }

  /** The bytes of a message of this type. */
  encode(type, message) {
    const to = new Writer();
    const { fields } = this.#message(type);
    const unknown = Object.keys(message).find((name) => !fields.some((f) => f.name === name || f.oneof === name));
    if (unknown) throw new TypeError(`${type} has no field ${unknown}`);
    for (const field of fields) writeField(to, field, message[field.name]);
    return Uint8Array.from(to.bytes);
  }

  #message(type) {
    const found = this.#messages.get(type);
    if (!found) throw new TypeError(`there is no message ${type} in the schema`);
    return found;
  }

  #type({ kind, type }, enums) {
    if (kind === "enum") return enums.get(type);
    if (kind !== "message") return SCALARS[kind];
    return {
      wire: LENGTH,
      zero: undefined,
      read: (from) => this.decode(type, from.slice()),
      write: (to, value) => to.slice(this.encode(type, value)),
    };
  }

  #enumeration(values) {
    const names = new Map(Object.entries(values).map(([name, number]) => [number, name]));
    return {
      wire: VARINT,
      zero: names.get(0),
      read: (from) => {
        const number = SCALARS.int32.read(from);
        return names.get(number) ?? number;
      },
      write: (to, value) => to.varint(values[value] ?? value),
    };
  }

  /** An entry of a map: a message of a key and a value. */
  #entry([key, value]) {
    const parts = [
      { number: 1, name: "key", type: key },
      { number: 2, name: "value", type: value },
    ];
    return {
      wire: LENGTH,
      read: (from) => {
        const entry = { key: key.zero, value: value.zero };
        const inner = new Reader(from.slice());
        while (!inner.isAtEnd) {
          const tag = Number(inner.varint());
          const part = parts[(tag >>> 3) - 1];
          if (part) entry[part.name] = part.type.read(inner);
          else inner.skip(tag & 7);
        }
        return [entry.key, entry.value];
      },
      write: (to, entry) => {
        const inner = new Writer();
        parts.forEach((part, index) => writeOne(inner, part.number, part.type, entry[index]));
        to.slice(inner.bytes);
      },
    };
  }
}

function setDefault(message, field) {
  if (field.map) message[field.name] = new Map();
  else if (field.repeated) message[field.name] = [];
  else if (!field.optional && !field.oneof && field.type.zero !== undefined) message[field.name] = field.type.zero;
}

function readField(message, field, from, wire) {
  const { name, type } = field;
  if (field.map) {
    const [key, value] = type.read(from);
    message[name].set(key, value);
  } else if (field.repeated && wire === LENGTH && type.wire !== LENGTH) {
    const packed = new Reader(from.slice());
    while (!packed.isAtEnd) message[name].push(type.read(packed));
  } else if (field.repeated) {
    message[name].push(type.read(from));
  } else {
    message[name] = type.read(from);
    if (field.oneof) message[field.oneof] = name;
  }
}

function writeField(to, field, value) {
  const { number, type } = field;
  if (value === undefined || value === null) return;
  if (field.map) {
    for (const entry of value) writeOne(to, number, type, entry);
  } else if (field.repeated && type.wire !== LENGTH) {
    const packed = new Writer();
    for (const one of value) type.write(packed, one);
    if (value.length > 0) writeOne(to, number, SCALARS.bytes, packed.bytes);
  } else if (field.repeated) {
    for (const one of value) writeOne(to, number, type, one);
  } else if (field.optional || field.oneof || !isZero(type, value)) {
    writeOne(to, number, type, value);
  }
}

function writeOne(to, number, type, value) {
  to.varint((number << 3) | type.wire);
  type.write(to, value);
}

const isZero = (type, value) => value === type.zero || (value instanceof Uint8Array && value.length === 0);
