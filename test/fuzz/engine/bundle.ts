import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import { COUNTERS, PLACES } from "./coverage.ts";
import { instrument } from "./instrument.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");

/** What is instrumented: the code under test, not the tests and libraries. */
const SOURCES = /\/src\/.*\.ts$/;
const GENERATED = /\/generated\/|\/node_modules\//;

/** Bundles `entry` into the CommonJS file `output`. Resolves with the number of counted places. */
export async function bundle(entry: string, output: string): Promise<number> {
  let places = 0;
  const counting: Plugin = {
    name: "counting",
    setup({ onLoad }) {
      onLoad({ filter: SOURCES }, async ({ path }) => {
        if (GENERATED.test(path)) return undefined;
        const { code, next } = instrument(await readFile(path, "utf8"), path, places);
        places = next;
        return { contents: code, loader: "js" };
      });
    },
  };
  await build({
    entryPoints: [join(root, relative(root, entry))],
    outfile: output,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    sourcemap: "inline",
    // Neither exists in a bundle of this format.
    define: { "import.meta.dirname": "__dirname", "import.meta.url": "__filename" },
    banner: { js: `const ${COUNTERS} = (globalThis.${COUNTERS} ??= new Uint8Array(${PLACES}));` },
    plugins: [counting],
    logLevel: "error",
  });
  return places;
}
