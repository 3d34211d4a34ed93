import { closeSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { errnoOf } from "../core/errors.ts";

/**
 * Calls `abandoned` if the launcher exits (containerd kills it with its client) without a byte on descriptor `fd`,
 * which it writes once containerd has the address: nobody would ever call this shim, and its id would stay in use.
 */
export function onLauncherKilled(fd: number, abandoned: () => void): void {
  const launcher = new Socket({ fd, readable: true, writable: false });
  launcher.once("data", () => launcher.destroy());
  launcher.once("end", abandoned);
  launcher.once("error", abandoned);
}

/** Reports to the launcher on descriptor `fd` that the daemon serves, and closes it. */
export function reportReady(fd: number): void {
  try {
    writeSync(fd, "\n");
  } catch (error) {
    if (errnoOf(error) !== "EPIPE") throw error; // a launcher that was killed: see `onLauncherKilled`
  } finally {
    closeSync(fd);
  }
}
