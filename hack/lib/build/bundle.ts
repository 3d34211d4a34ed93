import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import { ROOT } from "../run.ts";

/** The directory of the bundles. */
export const LIB = join(ROOT, "dist/lib");

/** A bundle that esbuild builds. */
interface Bundle {
  readonly entry: string;
  /** In dist/lib. */
  readonly output: string;
  /** The maximum size in bytes: a larger bundle slows down the start of every pod. */
  readonly budget: number;
  readonly options?: BuildOptions;
}

/**
 * Saves memory in every pod's shim. Short names save 1 MiB per pod (hull-shim.cjs.map has the long ones). The text is ASCII
 * and wrapped as a module, so that V8 can use the mapped file (src/bin/shim.ts).
 */
const COMPACT: BuildOptions = {
  minifyIdentifiers: true,
  charset: "ascii",
  sourcemap: "external",
  banner: { js: "(function (exports, require, module, __filename, __dirname, compiledForm) {" },
  footer: { js: "})" },
};

/** hull's programs that run in Node. */
export const PROGRAMS: readonly Bundle[] = [
  { entry: "src/bin/hull-shim.ts", output: "hull-shim.cjs", budget: 545_000, options: COMPACT },
  { entry: "src/bin/shim.ts", output: "shim.cjs", budget: 4_000 },
  { entry: "src/bin/hull.ts", output: "hull.cjs", budget: 1_500_000 },
];

/** Libraries that few daemons need are not bundled with the programs, which load them from their own directory. */
const EXTERNAL = [
  { module: "@grpc/grpc-js", file: "build/src/index.js", output: "grpc.cjs", budget: 900_000 },
  // Only for a configuration that no shim has parsed before (src/config/parse/document-cache.ts).
  { module: "yaml", file: "dist/index.js", output: "yaml.cjs", budget: 400_000 },
];
const externalLibraries: Plugin = {
  name: "external-libraries",
  setup(build) {
    for (const { module, output } of EXTERNAL) {
      build.onResolve({ filter: new RegExp(`^${module}$`) }, () => ({ path: `./${output}`, external: true }));
    }
  },
};

/** Modules with which pino writes files and threads; hull's log has a stream of its own (src/shim/log/log.ts). */
const UNUSED_BY_PINO = /^(sonic-boom|thread-stream|worker_threads)$/;
const withoutUnused: Plugin = {
  name: "without-unused",
  setup(build) {
    build.onResolve({ filter: UNUSED_BY_PINO }, ({ path, importer }) =>
      importer.includes("/node_modules/pino/") ? { path, namespace: "unused" } : undefined,
    );
    build.onLoad({ filter: /./, namespace: "unused" }, () => ({
      // A class, since pino looks for instances.
      contents: "module.exports = class Unused { static isMainThread = true; };",
    }));
  },
};

/** Libraries that programs load on demand. */
export const LIBRARIES: readonly Bundle[] = EXTERNAL.map(({ module, file, output, budget }) => ({
  entry: `node_modules/${module}/${file}`,
  output,
  budget,
}));

/** Builds a bundle in dist/lib. */
export async function bundle({ entry, output, options }: Bundle): Promise<void> {
  if (!existsSync(join(ROOT, entry))) throw new Error(`${entry} is missing: cannot build`);
  const { build } = await import("esbuild");
  // V8 checks only the text's length, so the code cache of an old text must not stay next to a new one. And running shims
  // have the old text mapped, so it must not be overwritten.
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
    plugins: [externalLibraries, withoutUnused],
    // import() becomes require(), because a script that is loaded from a code cache has no import().
    supported: { "dynamic-import": false },
    metafile: true,
    logLevel: "warning",
    ...options,
  });
  writeFileSync(join(LIB, `${output}.meta.json`), JSON.stringify(result.metafile));
}

/** Returns a line for each bundle in dist/lib that exceeds its budget. */
export function tooLarge(): string[] {
  return [...PROGRAMS, ...LIBRARIES].flatMap(({ output, budget }) => {
    const { size } = statSync(join(LIB, output));
    const advice = `dist/lib/${output}.meta.json lists its contents`;
    return size > budget ? [`${output}: ${size} bytes exceed the budget of ${budget} (${advice})`] : [];
  });
}
