// The guest's kernel modules and their load order.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Returns the canonical name of a module. The kernel treats `-` and `_` as the same. */
export const canonical = (name: string): string => name.replaceAll("-", "_");

/** Returns what must be loaded before a module: `depends` and `softdep pre` in its .modinfo section. */
function dependencies(content: Buffer): string[] {
  const text = content.toString("latin1");
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? "";
  const soft = [...text.matchAll(/\0softdep=pre: ([^\0]*)/g)].flatMap((match) =>
    (match[1] ?? "").split(/\s+(?!post:)/),
  );
  return [...depends.split(","), ...soft].filter((name) => name !== "");
}

/** Returns the devices that a module is for: `alias` in its .modinfo section. */
export function aliasesOf(content: Buffer): string[] {
  return [...content.toString("latin1").matchAll(/\0alias=([^\0]*)/g)].map(([, alias = ""]) => alias);
}

interface KernelModule {
  readonly name: string;
  /** Relative to lib/modules/RELEASE. */
  readonly path: string;
}

/**
 * Returns the wanted modules in `directory` (lib/modules/RELEASE) and their dependencies in load order, except built-in ones.
 * Throws if a module does not exist.
 */
export function moduleOrder(directory: string, wanted: readonly string[]): KernelModule[] {
  const files = readdirSync(join(directory, "kernel"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ko"))
    .map((path) => join("kernel", path));
  const byName = new Map(files.map((path) => [canonical(basename(path, ".ko")), path]));
  const builtin = new Set(
    readFileSync(join(directory, "modules.builtin"), "utf8")
      .split("\n")
      .map((path) => canonical(basename(path, ".ko"))),
  );
  // A soft dependency may be on an alias (crc32c) of a module with another name (crc32c_generic).
  const aliases = readFileSync(join(directory, "modules.builtin.modinfo"), "latin1").matchAll(
    /\.alias=([^\0]+)\0/g,
  );
  for (const [, alias = ""] of aliases) builtin.add(canonical(alias));
  const order = new Map<string, KernelModule>();
  const add = (name: string, wantedBy: string): void => {
    const key = canonical(name);
    if (order.has(key) || builtin.has(key)) return;
    const path = byName.get(key);
    if (!path) throw new Error(`${wantedBy}: the kernel has no module ${name}`);
    for (const each of dependencies(readFileSync(join(directory, path)))) add(each, path);
    order.set(key, { name: key, path });
  };
  for (const name of wanted) add(name, "modules.list");
  return [...order.values()];
}
