import { readdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { MAX_BYTES, readConfigFile } from "./config-file.ts";
import { ConfigError } from "./problem.ts";
import type { RuntimeOptions } from "./runtime-options.ts";

/** A place where the configuration may be, in the order in which they are tried. */
export interface Candidate {
  readonly file: string;
  /** Who named it, for messages. */
  readonly by: "runtime options" | "HULL_CONFIG" | "default";
  /** Named by somebody: it must exist. */
  readonly required: boolean;
}

/** A text to be parsed: a file's, or the body that came with the runtime options. */
export interface SourceText {
  readonly kind: "file" | "drop-in" | "options";
  readonly source: string;
  readonly text: string;
  /** What relative paths are relative to. */
  readonly folder: string | undefined;
}

export interface Places {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that holds bin/, guest/ and configs/. */
  readonly installation: string;
  /** The root of the file system, for tests. */
  readonly root?: string;
}

/** Every file that may be the configuration; the first that exists is the one. */
export function candidates(options: RuntimeOptions, { env, installation, root = "/" }: Places): Candidate[] {
  const found: Candidate[] = [];
  if (options.configPath) found.push({ file: options.configPath, by: "runtime options", required: true });
  if (env.HULL_CONFIG) found.push({ file: env.HULL_CONFIG, by: "HULL_CONFIG", required: true });
  for (const file of [
    join(root, "etc/hull/config.yaml"),
    join(root, "usr/share/defaults/hull/config.yaml"),
    join(installation, "configs/qemu.yaml"),
  ]) {
    found.push({ file, by: "default", required: false });
  }
  return found;
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
    const code = (thrown as NodeJS.ErrnoException).code ?? String(thrown);
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
