/**
 * The frame layer of ttrpc (containerd/ttrpc, PROTOCOL.md): a header of ten bytes, big endian, then the
 * payload.
 *
 *   u32 payload length | u32 stream id | u8 type | u8 flags
 */

/** Bytes of a frame's header. */
export const HEADER_LENGTH = 10;
/** The most bytes that a payload may have. */
export const MAX_PAYLOAD = 4 << 20;

/** The values of a header's `type`. */
export const FrameType = { Request: 1, Response: 2, Data: 3 } as const;

/** The bits of a header's `flags`. */
export const Flag = {
  /** The sender sends nothing more on this stream. */
  RemoteClosed: 0x01,
  /** On a request: data frames follow. */
  RemoteOpen: 0x02,
  /** On data: there is no message, not even an empty one. */
  NoData: 0x04,
} as const;

/** Writes the ten bytes of a header to the start of `target`. */
export function writeHeader(
  target: Uint8Array,
  length: number,
  streamId: number,
  type: number,
  flags: number,
): void {
  target[0] = length >>> 24;
  target[1] = length >>> 16;
  target[2] = length >>> 8;
  target[3] = length;
  target[4] = streamId >>> 24;
  target[5] = streamId >>> 16;
  target[6] = streamId >>> 8;
  target[7] = streamId;
  target[8] = type;
  target[9] = flags;
}

/** Receives what a `FrameDecoder` finds. */
export interface FrameSink {
  /** A whole frame. The payload may be a view of the chunk that contained it. */
  frame(streamId: number, type: number, flags: number, payload: Uint8Array): void;
  /** A frame with too large a payload. Called before the payload arrives, which is then discarded. */
  oversize(streamId: number, type: number, length: number): void;
}

/**
 * Cuts a byte stream into frames, whatever its chunks. A length is checked before memory is allocated for it,
 * and a frame within one chunk is not copied.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #header = new Uint8Array(HEADER_LENGTH);
  #headerFill = 0;
  #payload: Uint8Array | undefined;
  #payloadFill = 0;
  #skip = 0;
  #streamId = 0;
  #type = 0;
  #flags = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  push(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - offset);
        this.#skip -= skipped;
        offset += skipped;
      } else if (this.#payload) {
        offset += this.#fillPayload(this.#payload, chunk, offset);
      } else if (this.#headerFill === 0 && chunk.length - offset >= HEADER_LENGTH) {
        offset = this.#begin(chunk, offset, chunk, offset + HEADER_LENGTH);
      } else {
        const part = chunk.subarray(offset, offset + HEADER_LENGTH - this.#headerFill);
        this.#header.set(part, this.#headerFill);
        this.#headerFill += part.length;
        offset += part.length;
        if (this.#headerFill < HEADER_LENGTH) return;
        this.#headerFill = 0;
        offset = this.#begin(this.#header, 0, chunk, offset);
      }
    }
  }

  /**
   * Reads a header and, if the chunk has all of it, the payload at `offset`. Returns the offset to continue
   * at.
   */
  #begin(header: Uint8Array, at: number, chunk: Uint8Array, offset: number): number {
    const length = readU32(header, at);
    const streamId = readU32(header, at + 4);
    const type = header[at + 8] as number;
    const flags = header[at + 9] as number;
    if (length > MAX_PAYLOAD) {
      this.#skip = length;
      this.#sink.oversize(streamId, type, length);
      return offset;
    }
    if (chunk.length - offset >= length) {
      this.#sink.frame(streamId, type, flags, chunk.subarray(offset, offset + length));
      return offset + length;
    }
    this.#payload = new Uint8Array(length);
    this.#payloadFill = 0;
    this.#streamId = streamId;
    this.#type = type;
    this.#flags = flags;
    return offset;
  }

  #fillPayload(payload: Uint8Array, chunk: Uint8Array, offset: number): number {
    const part = chunk.subarray(offset, offset + payload.length - this.#payloadFill);
    payload.set(part, this.#payloadFill);
    this.#payloadFill += part.length;
    if (this.#payloadFill === payload.length) {
      this.#payload = undefined;
      this.#sink.frame(this.#streamId, this.#type, this.#flags, payload);
    }
    return part.length;
  }
}

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
