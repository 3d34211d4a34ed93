/**
 * Builds dist/ from src/, native/ and configs/ (`npm run build`):
 *
 *   dist/lib/hull-shim.cjs, hull.cjs     the daemon and the CLI, one bundle each
 *   dist/lib/hull-shim.cjs.code          V8's compiled form of the daemon, for the Node that built it
 *   dist/lib/shim.cjs                    what starts the daemon from that form
 *   dist/lib/grpc.cjs, yaml.cjs          libraries that are loaded only by a daemon that needs them
 *   dist/lib/node                        link to the Node that built it: what the launchers run
 *   dist/bin/containerd-shim-hull-v2     the small static launcher, for QuickJS
 *   dist/bin/hull                        launcher of the CLI
 *   dist/libexec/pod-localhost           the helper behind port-forward, from native/
 *   dist/libexec/copy-sparse             copies a template's memory for a clone, from native/
 *   dist/libexec/kill-user               ends all that runs as a pod's user, from native/
 *   dist/libexec/seccomp-exec            filters the system calls of a program that does not, from native/
 *   dist/lib/vsock.node, memory.node     the kernel's vsock, and memory for the kernel, from native/
 *   dist/lib/mount-api.node              mounts by descriptor, from native/
 *   dist/man/                            manual pages, made from the help texts and the configuration schema
 *   dist/configs/                        configs/ with @HULL@ replaced by dist's path, so that they work in place
 *
 * A step whose inputs did not change is skipped (dist/.stamps holds a hash of each step's inputs).
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

/** Lets the daemon load everything once and keeps what V8 made of it. */
function compiledForm(): void {
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

/** Replaces the directory in one step, so that a reader never sees half of it. */
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
  await step("code", sources, join(LIB, "hull-shim.cjs.code"), compiledForm);
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
  console.error(`build: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
