import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { resourceExhausted } from "../core/errors.ts";
import type { MessageCodec, Metadata } from "./definition.ts";
import { Flag, FrameType, HEADER_LENGTH, MAX_PAYLOAD, writeHeader } from "./frame.ts";

// The codec of src/proto/ttrpc/ttrpc.proto and google/rpc/status.proto. It builds a whole frame in one
// buffer: header, envelope, message. (Generated code would encode the message first and copy it twice.) The
// tests compare it with the generated codec.

const tag = (field: number, wireType: number) => (field << 3) | wireType;
const VARINT = 0;
const BYTES = 2;
const NO_HEADER = new Uint8Array(HEADER_LENGTH);
/** A writer whose buffer has grown beyond this is not reused. */
const KEPT_BUFFER = 64 << 10;
/** Longer error messages are cut, because they must fit a frame whatever a handler threw. */
const MAX_STATUS_CHARS = 64 << 10;
/** The most metadata pairs that a request may have. */
const MAX_METADATA = 256;

/** The part of a request that is the same in all calls of a method. */
export type Route = Uint8Array;

/** Encodes service and method name as the beginning of a request. */
export function encodeRoute(service: string, method: string): Route {
  return new BinaryWriter()
    .uint32(tag(1, BYTES))
    .string(service)
    .uint32(tag(2, BYTES))
    .string(method)
    .finish();
}

/** Builds frames. Throws ResourceExhausted if a message does not fit. */
export class FrameEncoder {
  #writer = new BinaryWriter();

  /**
   * `timeoutNano` 0 means no timeout; `codec` is undefined if the client streams and the request carries no
   * message.
   */
  request<T>(
    streamId: number,
    flags: number,
    route: Route,
    codec: MessageCodec<T> | undefined,
    message: T,
    timeoutNano: number,
    metadata: Metadata | undefined,
  ): Uint8Array {
    return this.#frame(streamId, FrameType.Request, flags, (writer) => {
      writer.raw(route);
      if (codec) codec.encode(message, writer.uint32(tag(3, BYTES)).fork()).join();
      if (timeoutNano > 0) writer.uint32(tag(4, VARINT)).int64(timeoutNano);
      if (metadata) encodeMetadata(writer, metadata);
    });
  }

  response<T>(streamId: number, codec: MessageCodec<T>, message: T): Uint8Array {
    return this.#frame(streamId, FrameType.Response, 0, (writer) => {
      codec.encode(message, writer.uint32(tag(2, BYTES)).fork()).join();
    });
  }

  status(streamId: number, code: number, message: string): Uint8Array {
    return this.#frame(streamId, FrameType.Response, 0, (writer) => {
      writer.uint32(tag(1, BYTES)).fork();
      writer.uint32(tag(1, VARINT)).int32(code);
      writer.uint32(tag(2, BYTES)).string(message.slice(0, MAX_STATUS_CHARS)).join();
    });
  }

  data<T>(streamId: number, codec: MessageCodec<T>, message: T): Uint8Array {
    return this.#frame(streamId, FrameType.Data, 0, (writer) => void codec.encode(message, writer));
  }

  /** The data frame without data that closes the sender's direction of a stream. */
  end(streamId: number): Uint8Array {
    const frame = new Uint8Array(HEADER_LENGTH);
    writeHeader(frame, 0, streamId, FrameType.Data, Flag.RemoteClosed | Flag.NoData);
    return frame;
  }

  #frame(streamId: number, type: number, flags: number, fill: (writer: BinaryWriter) => void): Uint8Array {
    const writer = this.#writer.raw(NO_HEADER);
    try {
      fill(writer);
    } catch (thrown) {
      this.#writer = new BinaryWriter(); // it contains half a message
      throw thrown;
    }
    const frame = writer.finish();
    if (frame.length > KEPT_BUFFER) this.#writer = new BinaryWriter();
    const length = frame.length - HEADER_LENGTH;
    if (length > MAX_PAYLOAD) {
      throw resourceExhausted(
        `message of ${length} bytes is larger than ttrpc's limit of ${MAX_PAYLOAD} bytes`,
      );
    }
    writeHeader(frame, length, streamId, type, flags);
    return frame;
  }
}

function encodeMetadata(writer: BinaryWriter, metadata: Metadata): void {
  for (const [key, values] of metadata) {
    for (const value of values) {
      writer.uint32(tag(5, BYTES)).fork();
      writer.uint32(tag(1, BYTES)).string(key).uint32(tag(2, BYTES)).string(value).join();
    }
  }
}

/** A decoded request. */
export interface RequestEnvelope {
  service: string;
  method: string;
  /** Undefined if the field is absent; a view of the input. */
  payload: Uint8Array | undefined;
  /** 0 means no timeout; negative means that it has expired. */
  timeoutNano: number;
  metadata: Map<string, string[]>;
}

/** Decodes a request. Throws a RangeError or Error if the bytes are not one. */
export function decodeRequest(bytes: Uint8Array): RequestEnvelope {
  const reader = new BinaryReader(bytes);
  const request: RequestEnvelope = {
    service: "",
    method: "",
    payload: undefined,
    timeoutNano: 0,
    metadata: new Map(),
  };
  let pairs = 0;
  while (reader.pos < reader.len) {
    const field = reader.uint32();
    if (field === tag(1, BYTES)) request.service = reader.string();
    else if (field === tag(2, BYTES)) request.method = reader.string();
    else if (field === tag(3, BYTES)) request.payload = reader.bytes();
    else if (field === tag(4, VARINT)) request.timeoutNano = Number(reader.int64());
    else if (field === tag(5, BYTES)) {
      pairs += 1;
      if (pairs > MAX_METADATA) throw new RangeError(`more than ${MAX_METADATA} metadata pairs`);
      decodePair(reader.bytes(), request.metadata);
    } else skip(reader, field);
  }
  return request;
}

function decodePair(bytes: Uint8Array, metadata: Map<string, string[]>): void {
  const reader = new BinaryReader(bytes);
  let key = "";
  let value = "";
  while (reader.pos < reader.len) {
    const field = reader.uint32();
    if (field === tag(1, BYTES)) key = reader.string();
    else if (field === tag(2, BYTES)) value = reader.string();
    else skip(reader, field);
  }
  const name = key.toLowerCase();
  const values = metadata.get(name);
  if (values) values.push(value);
  else metadata.set(name, [value]);
}

interface ResponseEnvelope {
  /** A gRPC status number; 0 is success. */
  code: number;
  message: string;
  /** A view of the input. */
  payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** Decodes a response. Throws a RangeError or Error if the bytes are not one. */
export function decodeResponse(bytes: Uint8Array): ResponseEnvelope {
  const reader = new BinaryReader(bytes);
  const response: ResponseEnvelope = { code: 0, message: "", payload: EMPTY };
  while (reader.pos < reader.len) {
    const field = reader.uint32();
    if (field === tag(1, BYTES)) decodeStatus(reader.bytes(), response);
    else if (field === tag(2, BYTES)) response.payload = reader.bytes();
    else skip(reader, field);
  }
  return response;
}

function decodeStatus(bytes: Uint8Array, response: ResponseEnvelope): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const field = reader.uint32();
    if (field === tag(1, VARINT)) response.code = reader.int32();
    else if (field === tag(2, BYTES)) response.message = reader.string();
    else skip(reader, field);
  }
}

/** Skips an unknown field, or the details of a status. */
function skip(reader: BinaryReader, field: number): void {
  if (field >>> 3 === 0) throw new RangeError("field number 0");
  reader.skip(field & 7, field >>> 3);
}
