import { internal } from "../../core/errors.ts";
import type { AnyValue, LogLevel } from "./start-input.ts";

/** What `start` passes to the daemon, in `bootstrap.json` of the pod's directory. */
export interface BootstrapRecord {
  readonly namespace: string;
  /** The pod: the id of its sandbox or its only container. */
  readonly id: string;
  readonly bundle: string;
  /** containerd's gRPC socket; empty under CRI-O. */
  readonly grpcAddress: string;
  /** The path of containerd's ttrpc socket, for events; empty under CRI-O: events are only logged. */
  readonly ttrpcAddress: string;
  /** containerd's executable. */
  readonly publishBinary: string;
  /** Passed by containerd 2.3 and later; else empty. */
  readonly containerdVersion: string;
  readonly logLevel: LogLevel;
  /** When `start` began, Unix time in ms. The timeline of the pod's start begins here. */
  readonly startedAt?: number | undefined;
  /** The runtime options passed to `start`. */
  readonly options: AnyValue | undefined;
}

/** Returns the record as JSON. The options' bytes are hexadecimal. */
export function encodeRecord(record: BootstrapRecord): string {
  const { options, ...rest } = record;
  const hex = options && Array.from(options.value, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${JSON.stringify({ ...rest, ...(options && { options: { typeUrl: options.typeUrl, valueHex: hex } }) })}\n`;
}

/** Parses what `encodeRecord` returned. Throws Internal if a field is missing. */
export function decodeRecord(text: string): BootstrapRecord {
  const raw = JSON.parse(text) as Record<string, unknown>;
  const field = (name: string): string => {
    const value = raw[name];
    if (typeof value !== "string") throw internal(`bootstrap.json: ${name} is missing`);
    return value;
  };
  const options = raw.options as { typeUrl: string; valueHex: string } | undefined;
  return {
    namespace: field("namespace"),
    id: field("id"),
    bundle: field("bundle"),
    grpcAddress: field("grpcAddress"),
    ttrpcAddress: field("ttrpcAddress"),
    publishBinary: field("publishBinary"),
    containerdVersion: field("containerdVersion"),
    logLevel: field("logLevel") as LogLevel,
    ...(typeof raw.startedAt === "number" && { startedAt: raw.startedAt }),
    options: options && {
      typeUrl: options.typeUrl,
      value: Uint8Array.from(options.valueHex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)),
    },
  };
}
