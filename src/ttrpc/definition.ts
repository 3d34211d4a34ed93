import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

/** What ttrpc needs to know about a message: the static codec that ts-proto generates. */
export interface MessageCodec<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter;
  decode(input: BinaryReader | Uint8Array, length?: number): T;
}

/** A method as ts-proto describes it. */
export interface MethodDefinition {
  readonly name: string;
  readonly requestType: MessageCodec<unknown>;
  readonly requestStream: boolean;
  readonly responseType: MessageCodec<unknown>;
  readonly responseStream: boolean;
}

/** A service as ts-proto generates it with `outputServices=generic-definitions`. */
export interface ServiceDefinition {
  /** Package and name, e.g. "containerd.task.v2.Task". */
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

/** The request message of a method. */
export type RequestOf<M extends MethodDefinition> =
  M["requestType"] extends MessageCodec<infer T> ? T : never;

/** The response message of a method. */
export type ResponseOf<M extends MethodDefinition> =
  M["responseType"] extends MessageCodec<infer T> ? T : never;

/** Key/value pairs sent with a request; keys are lower case, as in Go's ttrpc. */
export type Metadata = ReadonlyMap<string, readonly string[]>;
