import { Socket } from "node:net";

/**
 * Calls `abandoned` when the launcher ends (containerd kills it with its client) before it has said, by a byte on this
 * descriptor, that containerd is told where this shim listens: nobody would ever call, and the id would be taken.
 */
export function whenAbandoned(fd: number, abandoned: () => void): void {
  const launcher = new Socket({ fd, readable: true, writable: false });
  launcher.once("data", () => launcher.destroy());
  launcher.once("end", abandoned);
  launcher.once("error", abandoned);
}
