import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import { ROOT } from "../run.ts";

/** Where bundles go. */
export const LIB = join(ROOT, "dist/lib");

/** A file that esbuild makes of others. */
export interface Bundle {
  readonly entry: string;
  /** In dist/lib. */
  readonly output: string;
  /** The most bytes it may have: a larger bundle starts slower in every pod. */
  readonly budget: number;
  readonly options?: BuildOptions;
}

/**
 * What every pod's shim holds in memory is made small: names are shortened (hull-shim.cjs.map has the long ones), which
 * saves 1 MiB a pod, and the text is wrapped as a module and ASCII, so that it can be used as it lies in the file
 * (src/bin/shim.ts).
 */
const COMPACT: BuildOptions = {
  minifyIdentifiers: true,
  charset: "ascii",
  sourcemap: "external",
  banner: { js: "(function (exports, require, module, __filename, __dirname) {" },
  footer: { js: "})" },
};

/** The programs of ours that Node runs. */
export const PROGRAMS: readonly Bundle[] = [
  { entry: "src/bin/hull-shim.ts", output: "hull-shim.cjs", budget: 524_000, options: COMPACT },
  { entry: "src/bin/shim.ts", output: "shim.cjs", budget: 4_000 },
  { entry: "src/bin/hull.ts", output: "hull.cjs", budget: 1_500_000 },
];

/** Libraries that few daemons need stay out of the programs, which load them from beside themselves. */
const APART = [
  { module: "@grpc/grpc-js", file: "build/src/index.js", output: "grpc.cjs", budget: 900_000 },
  // Only for a configuration that no shim before has parsed (src/config/parse/document-cache.ts).
  { module: "yaml", file: "dist/index.js", output: "yaml.cjs", budget: 400_000 },
];
const loadedFromBeside: Plugin = {
  name: "loaded-from-beside",
  setup(build) {
    for (const { module, output } of APART) {
      build.onResolve({ filter: new RegExp(`^${module}$`) }, () => ({ path: `./${output}`, external: true }));
    }
  },
};

/** The libraries beside the programs. */
export const LIBRARIES: readonly Bundle[] = APART.map(({ module, file, output, budget }) => ({
  entry: `node_modules/${module}/${file}`,
  output,
  budget,
}));

/** Makes a bundle. */
export async function bundle({ entry, output, options }: Bundle): Promise<void> {
  if (!existsSync(join(ROOT, entry))) throw new Error(`${entry} is missing: cannot build`);
  const { build } = await import("esbuild");
  // V8 tells a compiled form of another text by the text's length only: there must never be an old one beside a new text.
  // And a new text is a new file: running shims have the old one mapped.
  for (const old of [output, `${output}.code`]) rmSync(join(LIB, old), { force: true });
  const result = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile: join(LIB, output),
    bundle: true,
    platform: "node",
    target: "node20",
    // CommonJS starts 8 ms faster than ESM; names are kept for readable stack traces.
    format: "cjs",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "linked",
    plugins: [loadedFromBeside],
    // import() becomes require(): a script that is loaded from its compiled form has no other.
    supported: { "dynamic-import": false },
    metafile: true,
    logLevel: "warning",
    ...options,
  });
  writeFileSync(join(LIB, `${output}.meta.json`), JSON.stringify(result.metafile));
}

/** The bundles in dist/lib that are larger than their budgets, a line for each. */
export function tooLarge(): string[] {
  return [...PROGRAMS, ...LIBRARIES].flatMap(({ output, budget }) => {
    const { size } = statSync(join(LIB, output));
    const advice = `dist/lib/${output}.meta.json tells what is in it`;
    return size > budget ? [`${output} has ${size} bytes, its budget is ${budget} (${advice})`] : [];
  });
}
