import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { CC, ROOT, run } from "../run.ts";

const WARNINGS = ["-Wall", "-Wextra", "-Werror"];
/** The headers of Node-API lie beside the Node that builds. Its functions are found in the Node that loads the addon. */
const NODE_HEADERS = join(dirname(dirname(realpathSync(process.execPath))), "include/node");

/** How the helpers in native/ are compiled. */
export const PROGRAM_FLAGS: readonly string[] = ["-O2", ...WARNINGS];
/** How the addons in native/ are compiled. */
export const ADDON_FLAGS: readonly string[] = ["-O2", "-fPIC", ...WARNINGS, "-isystem", NODE_HEADERS];

/** Helpers that are programs of their own -> their sources in native/. */
export const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "pod-localhost": ["pod-localhost.c", "confine.c"],
  "copy-sparse": ["copy-sparse.c"],
  "kill-user": ["kill-user.c"],
  "seccomp-exec": ["seccomp-exec.c"],
};
/** Addons of Node, each of one source in native/. */
export const ADDONS: readonly string[] = ["vsock", "memory", "mount-api"];

/** Compiles a helper. Static: they start at every pod's start, one runs beside it. */
export function nativeProgram(sources: readonly string[], output: string): void {
  const files = sources.map((file) => join(ROOT, "native", file));
  run(CC, [...PROGRAM_FLAGS, "-static", "-s", "-o", output, ...files]);
}

/** Compiles an addon. */
export function addon(name: string, output: string): void {
  run(CC, [...ADDON_FLAGS, "-shared", "-s", "-o", output, join(ROOT, "native", `${name}.c`)]);
}
