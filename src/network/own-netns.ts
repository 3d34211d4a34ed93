import { writeFile } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { Ledger } from "../core/ledger.ts";
import { undo } from "../core/undo.ts";
import { unmountTree } from "../host/mount.ts";
import { run } from "../host/run.ts";

/**
 * Creates a network namespace in which only loopback is up, as runc does for a container that asks for a new
 * one, and binds it to `path` (ip-netns(8)). Returns the function that unmounts it; the namespace then ends
 * with its last process.
 */
export async function createNetns(
  path: string,
  ledger: Ledger,
  deadline: Deadline,
): Promise<(deadline: Deadline) => Promise<void>> {
  const entry = await ledger.record({ kind: "mount", path });
  const release = async (limit: Deadline) => {
    await unmountTree(path, limit);
    await entry.forget();
  };
  try {
    await writeFile(path, "", { mode: 0o600 });
    await run(["unshare", `--net=${path}`, "ip", "link", "set", "lo", "up"], deadline);
    return release;
  } catch (error) {
    throw HullError.wrap("create a network namespace for the pod", await undo(error, release));
  }
}
