import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import type { MemoryAddon } from "../shim/idle-memory.ts";

/**
 * Loads the daemon's bundle from beside this program with V8's compiled form of it (`hull-shim.cjs.code`, made by the
 * build with `--keep-code`). V8 itself refuses a form that another Node has made, or one of another text; then it
 * compiles, which takes 10 ms longer and is right all the same.
 */
const directory = dirname(process.argv[1] ?? "");
const bundle = join(directory, "hull-shim.cjs");
const code = `${bundle}.code`;

/** V8 reads the text when a function is called that is not compiled: pages of the file do, which all shims share. */
function text(): string {
  const memory: { exports: Partial<MemoryAddon> } = { exports: {} };
  try {
    process.dlopen(memory, join(directory, "memory.node"));
  } catch {
    // Without the addon, which the daemon tells, there is a copy in every shim.
  }
  return memory.exports.text?.(bundle) ?? readFileSync(bundle, "utf8");
}

function compiled(): Buffer | undefined {
  try {
    return readFileSync(code);
  } catch {
    return undefined; // not there: compile
  }
}

const keep = process.argv[2] === "--keep-code";
const cachedData = keep ? undefined : compiled();
const script = new Script(text(), {
  filename: bundle,
  ...(cachedData && { cachedData }),
});
// At the exit the functions that a start needs have been compiled, too.
if (keep) process.on("exit", () => writeFileSync(code, script.createCachedData()));

/** The bundle is a function expression (hack/lib/build/bundle.ts). */
type Wrapper = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  file: string,
  directory: string,
) => void;
const module = { exports: {} };
(script.runInThisContext() as Wrapper)(module.exports, require, module, bundle, directory);
