import { invalidArgument } from "../../core/errors.ts";
import { bytesField, type Field, int32Field, readFields, textField } from "./protobuf.ts";

/** A `google.protobuf.Any`. */
export interface AnyValue {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** What containerd passes to `start` on stdin. Missing strings are empty. */
interface StartInput {
  readonly options: AnyValue | undefined;
  readonly logLevel: LogLevel | undefined;
  readonly containerdVersion: string;
  readonly ttrpcAddress: string;
  readonly grpcAddress: string;
  readonly containerdBinary: string;
}

/** A level of the shim's log (pino's names). */
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

/** The highest number of each level in containerd.runtime.bootstrap.v1.LogLevel. */
const LOG_LEVELS: readonly (readonly [number, LogLevel])[] = [
  [-8, "trace"],
  [-4, "debug"],
  [0, "info"],
  [4, "warn"],
  [8, "error"],
];

/** The supported types of runtime options, by the name after the last `/` of the type URL; preferred first. */
const OPTION_TYPES = ["runtimeoptions.v1.Options", "containerd.runc.v1.Options"];

const EMPTY: StartInput = {
  options: undefined,
  logLevel: undefined,
  containerdVersion: "",
  ttrpcAddress: "",
  grpcAddress: "",
  containerdBinary: "",
};

/**
 * Parses `start`'s stdin: nothing or an options `Any` (containerd up to 2.2), or `BootstrapParams` (from 2.3). Both
 * messages have strings in fields 1 and 2, so BootstrapParams is recognised by the instance id and namespace of the
 * command line. Throws InvalidArgument for anything else.
 */
export function parseStartInput(data: Uint8Array, namespace: string, id: string): StartInput {
  if (data.length === 0) return EMPTY;
  let fields: Field[];
  try {
    fields = readFields(data);
  } catch {
    throw invalidArgument(
      `standard input (${data.length} bytes) is neither runtime options nor BootstrapParams`,
    );
  }
  const first = textField(fields, 1);
  if (first === id && textField(fields, 2) === namespace) return parseBootstrapParams(fields);
  if (first.includes(".")) return { ...EMPTY, options: parseAny(fields) };
  throw invalidArgument(
    `standard input names ${JSON.stringify(first)}: neither an options type nor the instance ${id} of namespace ${namespace}`,
  );
}

function parseAny(fields: readonly Field[]): AnyValue {
  return { typeUrl: textField(fields, 1), value: bytesField(fields, 2) ?? new Uint8Array() };
}

function parseBootstrapParams(fields: readonly Field[]): StartInput {
  const extensions: AnyValue[] = [];
  for (const field of fields) {
    if (field.number !== 8 || field.type !== "bytes") continue;
    const any = bytesField(readFields(field.value), 1);
    if (any) extensions.push(parseAny(readFields(any)));
  }
  const ofType = (type: string) => extensions.find((any) => any.typeUrl.split("/").at(-1) === type);
  const level = int32Field(fields, 3);
  return {
    options: OPTION_TYPES.map(ofType).find((any) => any !== undefined),
    logLevel: LOG_LEVELS.find(([number]) => level <= number)?.[1] ?? "fatal",
    containerdVersion: textField(fields, 4),
    ttrpcAddress: textField(fields, 5),
    grpcAddress: textField(fields, 6),
    containerdBinary: textField(fields, 7),
  };
}
