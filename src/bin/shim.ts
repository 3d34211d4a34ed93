import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import type { MemoryAddon } from "../shim/idle-memory.ts";

/** Loads the daemon's bundle with its V8 code cache, which `--keep-code` writes. V8 recompiles (10 ms) if it is stale. */
const directory = dirname(process.argv[1] ?? "");
const bundle = join(directory, "hull-shim.cjs");
const code = `${bundle}.code`;

/** V8 reads the text when it compiles a function. The addon maps the file, so that all shims share its pages. */
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
