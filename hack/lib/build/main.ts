/**
 * Builds dist/ from src/, native/ and configs/ (`npm run build`):
 *
 *   dist/lib/hull-shim.cjs, hull.cjs     the daemon and the CLI, one bundle each
 *   dist/lib/hull-shim.cjs.code          V8's code cache of the daemon, for the Node that built it
 *   dist/lib/shim.cjs                    starts the daemon from the code cache
 *   dist/lib/grpc.cjs, yaml.cjs          libraries that a daemon loads if it needs them
 *   dist/lib/node                        symlink to the Node that built it, which the launchers run
 *   dist/bin/containerd-shim-hull-v2     the launcher, a small static program with QuickJS
 *   dist/bin/hull                        the launcher of the CLI
 *   dist/libexec/pod-localhost           native/: the helper behind port-forward
 *   dist/libexec/copy-sparse             native/: copies a template's memory for a clone
 *   dist/libexec/kill-user               native/: kills all processes of a pod's VM user
 *   dist/libexec/seccomp-exec            native/: runs a program with a seccomp filter
 *   dist/lib/vsock.node                  native/: addon for the kernel's vsock
 *   dist/lib/memory.node                 native/: addon that returns memory to the kernel
 *   dist/lib/mount-api.node              native/: addon that mounts by descriptor
 *   dist/man/                            manual pages, from the help texts and the configuration schema
 *   dist/configs/                        configs/ with @HULL@ replaced by dist's path, so that they work in place
 *
 * A step whose inputs have not changed is skipped; dist/.stamps has a hash of each step's inputs.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf } from "../../../src/core/errors.ts";
import { ROOT, run } from "../run.ts";
import { bundle, LIB, LIBRARIES, PROGRAMS } from "./bundle.ts";
import { ADDONS, addon, PROGRAMS as NATIVE_PROGRAMS, nativeProgram } from "./native.ts";
import { buildProgram } from "./qjs.ts";
import { inputs, step } from "./steps.ts";

const DIST = dirname(LIB);
const SHIM_LAUNCHER = "src/bin/containerd-shim-hull-v2.ts";
const LAUNCHER = `#!/bin/sh
lib=$(dirname "$(readlink -f "$0")")/../lib
exec "$lib/node" --no-warnings "$lib/hull.cjs" "$@"
`;

/** Runs the daemon until it has loaded everything, and saves V8's code cache. */
function codeCache(): void {
  run(process.execPath, ["--no-warnings", "--v8-pool-size=0", join(LIB, "shim.cjs"), "--keep-code"]);
}

function launcher(output: string): void {
  writeFileSync(output, LAUNCHER);
  chmodSync(output, 0o755);
}

function nodeLink(output: string): void {
  rmSync(output, { force: true });
  symlinkSync(process.execPath, output);
}

async function manPages(output: string): Promise<void> {
  const { manPages } = await import("../man/pages.ts");
  rmSync(output, { recursive: true, force: true });
  for (const [file, text] of manPages()) {
    mkdirSync(dirname(join(output, file)), { recursive: true });
    writeFileSync(join(output, file), text);
  }
}

/** Replaces the directory by a complete one. */
function configs(output: string): void {
  const next = `${output}.next`;
  rmSync(next, { recursive: true, force: true });
  cpSync(join(ROOT, "configs"), next, { recursive: true });
  for (const entry of readdirSync(next, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath ?? entry.path, entry.name);
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("@HULL@", DIST));
  }
  rmSync(output, { recursive: true, force: true });
  renameSync(next, output);
}

async function buildAll(): Promise<void> {
  const sources = inputs("src", "package-lock.json", "tsconfig.json");
  await step("node", [], join(LIB, "node"), nodeLink);
  for (const library of LIBRARIES) {
    const { output } = library;
    await step(output, inputs("package-lock.json"), join(LIB, output), () => bundle(library));
  }
  for (const program of PROGRAMS) {
    await step(program.output, sources, join(LIB, program.output), () => bundle(program));
  }
  await step("code", sources, join(LIB, "hull-shim.cjs.code"), codeCache);
  await step("launcher", [], join(DIST, "bin/hull"), launcher);
  const shimLauncher = (output: string) => buildProgram(SHIM_LAUNCHER, output);
  await step(
    "shim launcher",
    [...sources, ...inputs("guest-agent/sys")],
    join(DIST, "bin/containerd-shim-hull-v2"),
    shimLauncher,
  );
  const headers = inputs("native").filter((file) => file.endsWith(".h"));
  for (const [name, files] of Object.entries(NATIVE_PROGRAMS)) {
    const needed = [...headers, ...inputs(...files.map((file) => `native/${file}`))];
    await step(name, needed, join(DIST, "libexec", name), (output) => nativeProgram(files, output));
  }
  for (const name of ADDONS) {
    await step(name, inputs(`native/${name}.c`), join(LIB, `${name}.node`), (output) => addon(name, output));
  }
  await step("man", [...sources, ...inputs("hack/lib/man")], join(DIST, "man"), manPages);
  await step("configs", inputs("configs"), join(DIST, "configs"), configs);
}

buildAll().catch((error) => {
  const denied =
    errnoOf(error) === "EACCES" ? `; ${DIST} belongs to root if hack/setup built it: use sudo` : "";
  console.error(`build: ${error instanceof Error ? error.message : error}${denied}`);
  process.exitCode = 1;
});
