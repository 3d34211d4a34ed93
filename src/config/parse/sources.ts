import { readdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { errnoOf, ignoring } from "../../core/errors.ts";
import { ConfigError } from "../schema/problem.ts";
import { candidates, type Places } from "./candidates.ts";
import { MAX_BYTES, readConfigFile } from "./config-file.ts";
import type { RuntimeOptions } from "./runtime-options.ts";

export { candidates, type Places } from "./candidates.ts";

/** A text to be parsed: a file's, or the body that came with the runtime options. */
export interface SourceText {
  readonly kind: "file" | "drop-in" | "options";
  readonly source: string;
  readonly text: string;
  /** What relative paths are relative to; undefined if they are refused. */
  readonly directory: string | undefined;
}

/** Reads the configuration and its drop-ins, in the order in which they apply; none if no file exists. Throws ConfigError. */
export async function findSources(options: RuntimeOptions, places: Places): Promise<SourceText[]> {
  if (!options.configPath && options.configBody) {
    if (options.configBody.length > MAX_BYTES) {
      throw new ConfigError([{ source: "config_body", rule: `is larger than ${MAX_BYTES} bytes` }]);
    }
    return [{ kind: "options", source: "config_body", text: options.configBody, directory: undefined }];
  }
  for (const { file, by, required } of candidates(options, places)) {
    if (!isAbsolute(file)) {
      throw new ConfigError([{ source: by, rule: `must be an absolute path, not ${JSON.stringify(file)}` }]);
    }
    const text = await readConfigFile(file);
    if (text !== undefined) {
      const directory = dirname(file);
      return [
        { kind: "file", source: file, text, directory },
        ...(await dropIns(join(directory, "config.d"))),
      ];
    }
    if (required) {
      const byEnv = by === "HULL_CONFIG";
      const rule = `does not exist, but ${byEnv ? "the environment names" : "the runtime options name"} it`;
      const place = byEnv ? "HULL_CONFIG" : "the runtime's options (ConfigPath)";
      throw new ConfigError([{ source: file, rule, advice: `create it or change the path in ${place}` }]);
    }
  }
  return [];
}

/** Reads `*.yaml` in `config.d`, in the order of the names' bytes; a dangling symlink counts as absent. */
async function dropIns(directory: string): Promise<SourceText[]> {
  const names = await readdir(directory)
    .catch(ignoring("ENOENT"))
    .catch((thrown: unknown) => {
      const rule = `cannot be listed: ${errnoOf(thrown) ?? thrown}`;
      throw new ConfigError([{ source: directory, rule }]);
    });
  const result: SourceText[] = [];
  for (const name of (names ?? [])
    .filter((entry) => entry.endsWith(".yaml") && !entry.startsWith("."))
    .sort()) {
    const file = join(directory, name);
    const text = await readConfigFile(file);
    if (text !== undefined) result.push({ kind: "drop-in", source: file, text, directory });
  }
  return result;
}
