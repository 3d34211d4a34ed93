import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import { type CompiledForm, keptFormPath, readKeptForm } from "../shim/compiled-form.ts";
import type { MemoryAddon } from "../shim/idle-memory.ts";

/**
 * Loads the daemon's bundle with V8's compiled form of it: the one that an earlier shim kept, or the build's, which
 * `--keep-code` writes. V8 compiles the text if it rejects the form.
 */
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

const build = process.argv[2] === "--keep-code";
const path = keptFormPath(bundle);
const kept = build ? undefined : readKeptForm(path);
const cachedData = build ? undefined : (kept ?? compiled());
const script = new Script(text(), {
  filename: bundle,
  ...(cachedData && { cachedData }),
});
// At the exit, so that the cache contains all functions that loading the modules needs.
if (build) process.on("exit", () => writeFileSync(code, script.createCachedData()));
// Another Node than the one that kept it rejects a form.
const usable = kept && script.cachedDataRejected === false;
const form: CompiledForm | undefined = usable ? undefined : { path, data: () => script.createCachedData() };

/** The bundle is a function expression (hack/lib/build/bundle.ts). */
type Wrapper = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  file: string,
  directory: string,
  compiledForm: CompiledForm | undefined,
) => void;
const module = { exports: {} };
(script.runInThisContext() as Wrapper)(module.exports, require, module, bundle, directory, form);
