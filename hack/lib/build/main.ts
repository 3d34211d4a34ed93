#!/usr/bin/env node
/**
 * Builds dist/ from src/ and configs/:
 *
 *   dist/lib/hull-shim.cjs, hull.cjs     the daemon and the CLI, one bundle each
 *   dist/lib/hull-shim.cjs.code          V8's compiled form of the daemon, for the Node that built it
 *   dist/lib/shim.cjs                    what starts the daemon from that form
 *   dist/lib/grpc.cjs, yaml.cjs          libraries that are loaded only by a daemon that needs them
 *   dist/lib/node                        link to the Node that built it: what the launchers run
 *   dist/bin/containerd-shim-hull-v2     the small static front, by hack/lib/qjs-build
 *   dist/bin/hull                        launcher of the CLI
 *   dist/libexec/pod-localhost           the helper behind port-forward, from native/
 *   dist/libexec/copy-sparse             copies a template's memory for a clone, from native/
 *   dist/libexec/kill-user               ends all that runs as a pod's user, from native/
 *   dist/libexec/seccomp-exec            filters the system calls of a program that does not, from native/
 *   dist/lib/vsock.node, memory.node     the kernel's vsock, and memory for the kernel, from native/
 *   dist/lib/mount-api.node             mounts by descriptor, from native/
 *   dist/configs/                        configs/ with @HULL@ replaced by dist's path, so that they work in place
 *
 * A step whose inputs did not change is skipped (dist/.stamps holds a hash of each step's inputs).
 * `--check-size` only compares the bundles with their budgets.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = join(root, "dist");

/**
 * What every pod's shim holds in memory is made small: names are shortened (hull-shim.cjs.map has the long ones), which
 * saves 1 MiB a pod, and the text is wrapped as a module and ASCII, so that it can be used as it lies in the file
 * (src/bin/shim.ts).
 */
const COMPACT = {
  minifyIdentifiers: true,
  charset: "ascii",
  sourcemap: "external",
  banner: { js: "(function (exports, require, module, __filename, __dirname) {" },
  footer: { js: "})" },
};

/** Bundles: entry, file in dist/lib, and the most bytes it may have. A larger bundle starts slower in every pod. */
const BUNDLES = [
  { entry: "src/bin/hull-shim.ts", output: "hull-shim.cjs", budget: 516_000, options: COMPACT },
  { entry: "src/bin/shim.ts", output: "shim.cjs", budget: 4_000 },
  { entry: "src/bin/hull.ts", output: "hull.cjs", budget: 1_500_000 },
];
const FRONT = { entry: "src/bin/containerd-shim-hull-v2.ts", output: "containerd-shim-hull-v2" };

/** Every file below the given files and folders, sorted; tests do not count as an input. */
function inputs(...paths) {
  return paths
    .flatMap((path) => {
      const full = join(root, path);
      if (!existsSync(full)) return [];
      if (statSync(full).isFile()) return [full];
      return readdirSync(full, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
    })
    .sort();
}

/** Runs a step unless its inputs' hash is the one of its last success and its output is there. */
async function step(name, files, output, run) {
  const hash = createHash("sha256").update(`${root} ${process.version} ${process.execPath}`);
  for (const file of [...files, fileURLToPath(import.meta.url)]) {
    hash.update(`\0${relative(root, file)}\0`).update(readFileSync(file));
  }
  const key = hash.digest("hex");
  const stamp = join(dist, ".stamps", name);
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return;
  console.log(`build: ${relative(root, output)}`);
  mkdirSync(dirname(output), { recursive: true });
  await run();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
}

function requireEntry(entry) {
  if (!existsSync(join(root, entry))) throw new Error(`${entry} is missing: cannot build`);
}

/** Libraries that few daemons need stay out of the bundles, which load them from beside themselves. */
const APART = [
  { module: "@grpc/grpc-js", entry: "build/src/index.js", output: "grpc.cjs", budget: 900_000 },
  // Only for a configuration that no shim before has parsed (src/config/parse/document-cache.ts).
  { module: "yaml", entry: "dist/index.js", output: "yaml.cjs", budget: 400_000 },
].map((library) => ({ ...library, entry: `node_modules/${library.module}/${library.entry}` }));
const librariesApart = {
  name: "libraries-apart",
  setup: (build) => {
    for (const { module, output } of APART) {
      build.onResolve({ filter: new RegExp(`^${module}$`) }, () => ({ path: `./${output}`, external: true }));
    }
  },
};

async function bundle({ entry, output, options }) {
  requireEntry(entry);
  const { build } = await import("esbuild");
  // V8 tells a compiled form of another text by the text's length only: there must never be an old one beside a new text.
  // And a new text is a new file: running shims have the old one mapped.
  for (const old of [output, `${output}.code`]) rmSync(join(dist, "lib", old), { force: true });
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(dist, "lib", output),
    bundle: true,
    platform: "node",
    target: "node20",
    // CommonJS starts 8 ms faster than ESM; names are kept for readable stack traces.
    format: "cjs",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "linked",
    plugins: [librariesApart],
    // import() becomes require(): a script that is loaded from its compiled form has no other.
    supported: { "dynamic-import": false },
    metafile: true,
    logLevel: "warning",
    ...options,
  });
  writeFileSync(join(dist, "lib", `${output}.meta.json`), JSON.stringify(result.metafile));
}

/** Helpers that are programs of their own. Static: they start at every pod's start, one runs beside it. */
function nativeProgram(name, sources) {
  const flags = ["-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror"];
  const files = ["-o", join(dist, "libexec", name), ...sources.map((file) => join(root, file))];
  execFileSync("cc", [...flags, ...files], { stdio: "inherit" });
}

/** The headers of Node-API lie beside the Node that builds. Its functions are found in the Node that loads the addon. */
function addon(name) {
  const headers = join(dirname(dirname(realpathSync(process.execPath))), "include/node");
  const flags = ["-O2", "-shared", "-fPIC", "-s", "-Wall", "-Wextra", "-Werror", "-isystem", headers];
  const files = ["-o", join(dist, "lib", `${name}.node`), join(root, "native", `${name}.c`)];
  execFileSync("cc", [...flags, ...files], { stdio: "inherit" });
}

/** Lets the daemon load everything once and keeps what V8 made of it. */
function compiledForm() {
  const shim = join(dist, "lib/shim.cjs");
  execFileSync(process.execPath, ["--no-warnings", "--v8-pool-size=0", shim, "--keep-code"], {
    stdio: "inherit",
  });
}

function front() {
  requireEntry(FRONT.entry);
  execFileSync(join(root, "hack/lib/qjs-build"), [join(root, FRONT.entry), join(dist, "bin", FRONT.output)], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}

function launcher() {
  const file = join(dist, "bin/hull");
  writeFileSync(
    file,
    '#!/bin/sh\nlib=$(dirname "$(readlink -f "$0")")/../lib\nexec "$lib/node" --no-warnings "$lib/hull.cjs" "$@"\n',
  );
  chmodSync(file, 0o755);
}

function nodeLink() {
  const link = join(dist, "lib/node");
  rmSync(link, { force: true });
  symlinkSync(process.execPath, link);
}

/** Replaces the folder in one step, so that a reader never sees half of it. */
function configs() {
  const target = join(dist, "configs");
  const next = `${target}.next`;
  rmSync(next, { recursive: true, force: true });
  cpSync(join(root, "configs"), next, { recursive: true });
  for (const entry of readdirSync(next, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath ?? entry.path, entry.name);
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("@HULL@", dist));
  }
  rmSync(target, { recursive: true, force: true });
  renameSync(next, target);
}

function checkSizes() {
  const tooLarge = [...BUNDLES, ...APART]
    .map(({ output, budget }) => ({
      output,
      budget,
      size: statSync(join(dist, "lib", output)).size,
    }))
    .filter(({ size, budget }) => size > budget)
    .map(({ output, size, budget }) => `${output} has ${size} bytes, its budget is ${budget}`);
  if (tooLarge.length > 0)
    throw new Error(`${tooLarge.join("; ")} (dist/lib/*.meta.json tells what is in it)`);
}

async function buildAll() {
  const sources = inputs("src", "package-lock.json", "tsconfig.json");
  await step("node", [], join(dist, "lib/node"), nodeLink);
  for (const library of APART) {
    const { output } = library;
    await step(output, inputs("package-lock.json"), join(dist, "lib", output), () => bundle(library));
  }
  for (const target of BUNDLES) {
    await step(target.output, sources, join(dist, "lib", target.output), () => bundle(target));
  }
  await step("code", sources, join(dist, "lib/hull-shim.cjs.code"), compiledForm);
  await step("launcher", [], join(dist, "bin/hull"), launcher);
  const frontInputs = [...sources, ...inputs("guest-agent/sys", "hack/lib/qjs-build")];
  await step("front", frontInputs, join(dist, "bin", FRONT.output), front);
  for (const [name, parts] of [
    ["pod-localhost", ["confine"]],
    ["copy-sparse", []],
    ["kill-user", []],
    ["seccomp-exec", []],
  ]) {
    const files = [name, ...parts].map((part) => `native/${part}.c`);
    const headers = parts.map((part) => `native/${part}.h`);
    const output = join(dist, "libexec", name);
    await step(name, inputs(...files, ...headers), output, () => nativeProgram(name, files));
  }
  for (const name of ["vsock", "memory", "mount-api"]) {
    await step(name, inputs(`native/${name}.c`), join(dist, "lib", `${name}.node`), () => addon(name));
  }
  await step("configs", inputs("configs"), join(dist, "configs"), configs);
}

try {
  if (process.argv.includes("--check-size")) checkSizes();
  else await buildAll();
} catch (error) {
  console.error(`build: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
