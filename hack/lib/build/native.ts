import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { CC, ROOT, run } from "../run.ts";

const WARNINGS = ["-Wall", "-Wextra", "-Werror"];
/** The headers of Node-API of the Node that runs the build. */
const NODE_HEADERS = join(dirname(dirname(realpathSync(process.execPath))), "include/node");

/** The compiler's flags for the helpers in native/. */
export const PROGRAM_FLAGS: readonly string[] = ["-O2", ...WARNINGS];
/** The compiler's flags for the addons in native/. */
export const ADDON_FLAGS: readonly string[] = ["-O2", "-fPIC", ...WARNINGS, "-isystem", NODE_HEADERS];

/** The helper programs and their sources in native/. */
export const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "pod-localhost": ["pod-localhost.c", "confine.c"],
  "copy-sparse": ["copy-sparse.c"],
  "kill-user": ["kill-user.c"],
  "seccomp-exec": ["seccomp-exec.c"],
};
/** The addons for Node, with one source each in native/. */
export const ADDONS: readonly string[] = ["vsock", "memory", "mount-api"];

/** Compiles a helper, statically, because helpers run at every pod's start. */
export function nativeProgram(sources: readonly string[], output: string): void {
  const files = sources.map((file) => join(ROOT, "native", file));
  run(CC, [...PROGRAM_FLAGS, "-static", "-s", "-o", output, ...files]);
}

/** Compiles an addon. */
export function addon(name: string, output: string): void {
  run(CC, [...ADDON_FLAGS, "-shared", "-s", "-o", output, join(ROOT, "native", `${name}.c`)]);
}
