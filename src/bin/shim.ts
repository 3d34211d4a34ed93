import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Script } from "node:vm";

/**
 * Loads the daemon's bundle from beside this program with V8's compiled form of it (`hull-shim.cjs.code`, made by the
 * build with `--keep-code`). V8 itself refuses a form that another Node has made, or one of another text; then it
 * compiles, which takes 10 ms longer and is right all the same.
 */
const bundle = join(dirname(process.argv[1] ?? ""), "hull-shim.cjs");
const code = `${bundle}.code`;

function compiled(): Buffer | undefined {
  try {
    return readFileSync(code);
  } catch {
    return undefined; // not there: compile
  }
}

const keep = process.argv[2] === "--keep-code";
const cachedData = keep ? undefined : compiled();
const script = new Script(readFileSync(bundle, "utf8"), {
  filename: bundle,
  ...(cachedData && { cachedData }),
});
// At the exit the functions that a start needs have been compiled, too.
if (keep) process.on("exit", () => writeFileSync(code, script.createCachedData()));

/** The bundle is a function expression (hack/lib/build.mjs). */
type Wrapper = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  file: string,
  folder: string,
) => void;
const module = { exports: {} };
(script.runInThisContext() as Wrapper)(
  module.exports,
  createRequire(bundle),
  module,
  bundle,
  dirname(bundle),
);
