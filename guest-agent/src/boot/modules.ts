import { describe, type Log } from "../log.ts";
import { errnoName, type Sys } from "../sys.ts";

/** Written by the image build: absolute module paths in load order, starting with those that vsock needs. */
export const MODULE_LIST = "/lib/modules/hull.order";

/** The module after which the host can reach the agent. */
const TRANSPORT = /\/(vmw_vsock_virtio_transport|virtio_vsock)\.ko(\.\w+)?$/;

interface ModuleList {
  /** Up to the vsock transport. */
  transport: string[];
  rest: string[];
}

/**
 * Reads the list and splits it after the vsock transport. Without a list, or with an empty one, everything is
 * built in.
 */
export function readModuleList(sys: Pick<Sys, "readFile">, path = MODULE_LIST): ModuleList {
  let text: string;
  try {
    text = new TextDecoder().decode(sys.readFile(path));
  } catch (error) {
    if (errnoName(error) === "ENOENT") return { transport: [], rest: [] };
    throw error;
  }
  const paths = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const split = paths.findIndex((module) => TRANSPORT.test(module)) + 1;
  return { transport: paths.slice(0, split), rest: paths.slice(split) };
}

/**
 * Loads modules in order and deletes their files, which take memory in an initramfs. Failures are logged
 * only: whatever needs the module reports its absence.
 */
export function loadModules(
  sys: Pick<Sys, "loadModule" | "unlink">,
  log: Log,
  paths: readonly string[],
): void {
  for (const path of paths) {
    try {
      sys.loadModule(path, "");
      sys.unlink(path);
    } catch (error) {
      log("warn", `kernel module ${path}: ${describe(error)}`);
    }
  }
}
