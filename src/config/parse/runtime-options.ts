import { BinaryReader } from "@bufbuild/protobuf/wire";
import { ConfigError } from "../schema/problem.ts";

/** The configuration in containerd's runtime options: a path or the text itself. */
export interface RuntimeOptions {
  readonly configPath?: string;
  readonly configBody?: string;
}

/** A `google.protobuf.Any`, as `start` reads it from stdin and Create finds it in its options. */
export interface OptionsAny {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

const SOURCE = "runtime options";

/**
 * Decodes the options that containerd sends (shim-v2 API, `runtimeoptions.v1.Options`: type_url = 1,
 * config_path = 2, config_body = 3). `containerd.runc.v1.Options` counts as no options, since CRI sends it to every
 * runtime for pods with a user namespace. Any other type is for another runtime: throws ConfigError. Types are compared
 * from the last slash on.
 */
export function decodeRuntimeOptions(options: OptionsAny | undefined): RuntimeOptions {
  if (!options || (options.typeUrl === "" && options.value.length === 0)) return {};
  const type = options.typeUrl.slice(options.typeUrl.lastIndexOf("/") + 1);
  if (type === "containerd.runc.v1.Options") return {};
  if (type !== "runtimeoptions.v1.Options") {
    const advice = "set runtime_type to io.containerd.hull.v2 and the option ConfigPath";
    throw new ConfigError([
      { source: SOURCE, rule: `type ${JSON.stringify(type)} is not supported`, advice },
    ]);
  }
  const text = new Map<number, string>();
  try {
    const reader = new BinaryReader(options.value);
    while (reader.pos < reader.len) {
      const [field, wire] = reader.tag();
      if (wire === 2 && field <= 3)
        text.set(field, new TextDecoder("utf-8", { fatal: true }).decode(reader.bytes()));
      else reader.skip(wire);
    }
  } catch (thrown) {
    throw new ConfigError([{ source: SOURCE, rule: `cannot be decoded: ${(thrown as Error).message}` }]);
  }
  const configPath = text.get(2);
  const configBody = text.get(3);
  return { ...(configPath && { configPath }), ...(configBody && { configBody }) };
}
