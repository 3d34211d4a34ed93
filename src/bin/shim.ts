import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import type { MemoryAddon } from "../shim/idle-memory.ts";

/**
 * Loads the daemon's bundle, next to this program, with V8's code cache of it (`hull-shim.cjs.code`, built
 * with `--keep-code`). V8 rejects the cache of another Node or bundle, and compiles: 10 ms slower, same
 * result.
 */
const directory = dirname(process.argv[1] ?? "");
const bundle = join(directory, "hull-shim.cjs");
const code = `${bundle}.code`;

/**
 * V8 reads the text to compile a function at its first call. The addon maps the file, so all shims share its
 * pages.
 */
function text(): string {
  const memory: { exports: Partial<MemoryAddon> } = { exports: {} };
  try {
    process.dlopen(memory, join(directory, "memory.node"));
  } catch {
    // Without the addon, which the daemon reports, every shim has its own copy.
  }
  return memory.exports.text?.(bundle) ?? readFileSync(bundle, "utf8");
}

function compiled(): Buffer | undefined {
  try {
    return readFileSync(code);
  } catch {
    return undefined; // no cache: compile
  }
}

const keep = process.argv[2] === "--keep-code";
const cachedData = keep ? undefined : compiled();
const script = new Script(text(), {
  filename: bundle,
  ...(cachedData && { cachedData }),
});
// At the exit, so that the cache contains all functions that a start needs.
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
