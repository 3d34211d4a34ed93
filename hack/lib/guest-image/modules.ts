// Which kernel modules go into the guest, in which order.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** The kernel takes `-` and `_` in module names for the same. */
export const canonical = (name: string): string => name.replaceAll("-", "_");

/** What must be loaded before this module: its `depends` and `softdep pre` in the .modinfo section. */
export function dependencies(content: Buffer): string[] {
  const text = content.toString("latin1");
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? "";
  const soft = [...text.matchAll(/\0softdep=pre: ([^\0]*)/g)].flatMap((match) =>
    (match[1] ?? "").split(/\s+(?!post:)/),
  );
  return [...depends.split(","), ...soft].filter((name) => name !== "");
}

/** A module of a kernel. */
export interface KernelModule {
  readonly name: string;
  /** Relative to lib/modules/RELEASE. */
  readonly path: string;
}

/**
 * The wanted modules of `folder` (lib/modules/RELEASE) and all they need, each behind its dependencies; what the kernel has
 * built in is left out.
 */
export function moduleOrder(folder: string, wanted: readonly string[]): KernelModule[] {
  const files = readdirSync(join(folder, "kernel"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ko"))
    .map((path) => join("kernel", path));
  const byName = new Map(files.map((path) => [canonical(basename(path, ".ko")), path]));
  const builtin = new Set(
    readFileSync(join(folder, "modules.builtin"), "utf8")
      .split("\n")
      .map((path) => canonical(basename(path, ".ko"))),
  );
  // A soft dependency may name an alias (crc32c) of a module under another name (crc32c_generic).
  const aliases = readFileSync(join(folder, "modules.builtin.modinfo"), "latin1").matchAll(
    /\.alias=([^\0]+)\0/g,
  );
  for (const [, alias = ""] of aliases) builtin.add(canonical(alias));
  const order = new Map<string, KernelModule>();
  const add = (name: string, wantedBy: string): void => {
    const key = canonical(name);
    if (order.has(key) || builtin.has(key)) return;
    const path = byName.get(key);
    if (!path) throw new Error(`${wantedBy}: the kernel has no module ${name}`);
    for (const each of dependencies(readFileSync(join(folder, path)))) add(each, path);
    order.set(key, { name: key, path });
  };
  for (const name of wanted) add(name, "modules.list");
  return [...order.values()];
}
