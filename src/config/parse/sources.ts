import { readdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { errnoOf } from "../../core/errors.ts";
import { ConfigError } from "../schema/problem.ts";
import { candidates, type Places } from "./candidates.ts";
import { MAX_BYTES, readConfigFile } from "./config-file.ts";
import type { RuntimeOptions } from "./runtime-options.ts";

export { type Candidate, candidates, type Places } from "./candidates.ts";

/** A text to be parsed: a file's, or the body that came with the runtime options. */
export interface SourceText {
  readonly kind: "file" | "drop-in" | "options";
  readonly source: string;
  readonly text: string;
  /** What relative paths are relative to. */
  readonly folder: string | undefined;
}

/** The base text and its drop-ins, in the order in which they apply; nothing where no file exists. */
export async function findSources(options: RuntimeOptions, places: Places): Promise<SourceText[]> {
  if (!options.configPath && options.configBody) {
    if (options.configBody.length > MAX_BYTES) {
      throw new ConfigError([{ source: "config_body", rule: `is larger than ${MAX_BYTES} bytes` }]);
    }
    return [{ kind: "options", source: "config_body", text: options.configBody, folder: undefined }];
  }
  for (const { file, by, required } of candidates(options, places)) {
    if (!isAbsolute(file)) {
      throw new ConfigError([
        { source: by, rule: `must name an absolute path, not ${JSON.stringify(file)}` },
      ]);
    }
    const text = await readConfigFile(file);
    if (text !== undefined) {
      return [{ kind: "file", source: file, text, folder: dirname(file) }, ...(await dropIns(dirname(file)))];
    }
    if (required) {
      const advice = `create it or change the path in ${by === "HULL_CONFIG" ? "HULL_CONFIG" : "the runtime's options (ConfigPath)"}`;
      throw new ConfigError([
        {
          source: file,
          rule: `does not exist, but ${by === "HULL_CONFIG" ? "the environment" : "the runtime options"} names it`,
          advice,
        },
      ]);
    }
  }
  return [];
}

/** `config.d/*.yaml` beside the file, in the order of their names' bytes; a link to nothing counts as absent. */
async function dropIns(folder: string): Promise<SourceText[]> {
  const directory = join(folder, "config.d");
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (thrown) {
    const code = errnoOf(thrown) ?? String(thrown);
    if (code === "ENOENT") return [];
    throw new ConfigError([{ source: directory, rule: `cannot be listed: ${code}` }]);
  }
  const result: SourceText[] = [];
  for (const name of names.filter((entry) => entry.endsWith(".yaml") && !entry.startsWith(".")).sort()) {
    const file = join(directory, name);
    const text = await readConfigFile(file);
    if (text !== undefined) result.push({ kind: "drop-in", source: file, text, folder: directory });
  }
  return result;
}
