import { readText } from "../files.ts";
import { describe, type Log } from "../log.ts";
import type { Sys } from "../sys.ts";

/** modules.json, which the image build writes. */
interface ModuleList {
  readonly release: string;
  /** `files` in load order; `aliases` are patterns of modalias, or `devname:<name below /dev>`. */
  readonly modules: readonly { readonly files: readonly string[]; readonly aliases: readonly string[] }[];
}

/** Each alias of an adapter's driver takes some 60 bytes. */
const LIST_LIMIT = 4 << 20;

/** Kernel modules that are loaded when a device needs them, from a directory that the host shares. */
export class ModuleLibrary {
  #list: ModuleList | undefined;

  /** @param directory empty = there are no modules */
  constructor(
    readonly sys: Pick<Sys, "readFile" | "loadModule" | "uname">,
    readonly directory: string,
    readonly log: Log,
  ) {}

  /**
   * Loads the modules for a device, given its alias. Failures are only logged, because the caller waits for the device
   * anyway. Blocks the agent while a driver starts its hardware.
   */
  load(alias: string): void {
    if (this.directory === "") return;
    try {
      for (const file of this.#filesFor(alias)) this.sys.loadModule(`${this.directory}/${file}`, "");
    } catch (error) {
      this.log("warn", `kernel modules for ${alias}: ${describe(error)}`);
    }
  }

  #filesFor(alias: string): string[] {
    this.#list ??= JSON.parse(readText(this.sys, `${this.directory}/modules.json`, LIST_LIMIT)) as ModuleList;
    const { release, modules } = this.#list;
    const running = this.sys.uname().release;
    if (release !== running) throw new Error(`they are for Linux ${release}, not ${running}`);
    return modules
      .filter(({ aliases }) => aliases.some((pattern) => matches(pattern, alias)))
      .flatMap(({ files }) => files);
  }
}

/** Whether an alias matches a pattern of glob(7), as in modules.alias. */
function matches(pattern: string, alias: string): boolean {
  const expression = pattern
    .replaceAll(/[.+^$(){}|\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${expression}$`).test(alias);
}
