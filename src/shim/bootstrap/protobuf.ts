import { invalidArgument } from "../../core/errors.ts";

/**
 * The part of the protobuf wire format that the launcher needs (protobuf.dev/programming-guides/encoding). A library
 * would double the binary's start-up time.
 */

/** One field as it is encoded. */
export type Field =
  | { readonly number: number; readonly type: "varint"; readonly value: bigint }
  | { readonly number: number; readonly type: "bytes"; readonly value: Uint8Array }
  | { readonly number: number; readonly type: "fixed" };

const malformed = () => invalidArgument("malformed protobuf message");

/** Returns the fields of a message, in their order. Throws InvalidArgument if `data` is not a protobuf message. */
export function readFields(data: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined) throw malformed();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed();
  };
  const skip = (length: number): void => {
    at += length;
    if (at > data.length) throw malformed();
  };
  while (at < data.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    if (number === 0 || number >= 2 ** 29) throw malformed();
    switch (Number(tag & 7n)) {
      case 0:
        fields.push({ number, type: "varint", value: varint() });
        break;
      case 1:
        skip(8);
        fields.push({ number, type: "fixed" });
        break;
      case 2: {
        const length = varint();
        if (length > BigInt(data.length - at)) throw malformed();
        const start = at;
        skip(Number(length));
        fields.push({ number, type: "bytes", value: data.subarray(start, at) });
        break;
      }
      case 5:
        skip(4);
        fields.push({ number, type: "fixed" });
        break;
      default:
        throw malformed(); // groups, which none of our messages has
    }
  }
  return fields;
}

/** Returns the last length-delimited field `number`; undefined if there is none. */
export function bytesField(fields: readonly Field[], number: number): Uint8Array | undefined {
  const field = fields.findLast((candidate) => candidate.number === number);
  return field?.type === "bytes" ? field.value : undefined;
}

/** Returns the last string field `number`; empty if there is none, as in proto3. */
export function textField(fields: readonly Field[], number: number): string {
  const value = bytesField(fields, number);
  return value === undefined ? "" : new TextDecoder().decode(value);
}

/** Returns the last int32 or enum field `number`; 0 if there is none. Negative numbers are ten byte varints. */
export function int32Field(fields: readonly Field[], number: number): number {
  const field = fields.findLast((candidate) => candidate.number === number);
  return field?.type === "varint" ? Number(BigInt.asIntN(32, field.value)) : 0;
}

/** Encodes a message field by field. Zero and empty values are left out, as in proto3. */
export class MessageWriter {
  readonly #bytes: number[] = [];

  #varint(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.#bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.#bytes.push(Number(rest));
  }

  /** Appends a varint field: uint32, int32, int64, enum or bool. */
  varint(number: number, value: number | bigint): this {
    if (BigInt(value) !== 0n) {
      this.#varint(BigInt(number << 3));
      this.#varint(BigInt(value));
    }
    return this;
  }

  /** Appends a length-delimited field: string, bytes or a nested message. */
  bytes(number: number, value: string | Uint8Array): this {
    const data = typeof value === "string" ? new TextEncoder().encode(value) : value;
    if (data.length > 0) {
      this.#varint(BigInt((number << 3) | 2));
      this.#varint(BigInt(data.length));
      for (const byte of data) this.#bytes.push(byte);
    }
    return this;
  }

  /** Returns the message. */
  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}
