import { unlink } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError, ignoring } from "../core/errors.ts";
import { HOST_PORT } from "../core/guest-ports.ts";
import type { Ledger } from "../core/ledger.ts";
import { checkSocketPath } from "../host/socket-path.ts";

/** The connection that the guest is expected to open. */
interface GuestCall {
  /** The Unix socket at which it arrives. */
  readonly path: string;
  /** Resolves with the first connection; there is no second. */
  answered(deadline: Deadline): Promise<Socket>;
  /** Stops waiting. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listens for the guest's connection. In the hybrid vsock protocol a guest's connect to port N of the host
 * arrives at the Unix socket `<hybrid socket>_N`. It means that the guest is up, without repeated dialling,
 * which vhost-device-vsock handles badly (README.md).
 */
export async function expectGuestCall(hybridSocket: string, ledger: Ledger): Promise<GuestCall> {
  const path = checkSocketPath(`${hybridSocket}_${HOST_PORT}`);
  const entry = await ledger.record({ kind: "socket", path });
  const call = deferred<Socket>();
  call.promise.catch(() => undefined); // `answered` reports it
  const close = async () => {
    server.close();
    await unlink(path).catch(ignoring("ENOENT"));
    await entry.forget();
  };
  const server = createServer((socket) => {
    server.close(); // only the first connection counts
    call.resolve(socket);
  });
  server.maxConnections = 1;
  server.on("error", (error) => call.reject(HullError.wrap(`listen on ${path}`, error, "Unavailable")));
  await unlink(path).catch(() => undefined); // an earlier pod of this name may have left one
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  }).catch(async (error: unknown) => {
    await close();
    throw HullError.wrap(`listen on ${path}`, error, "Unavailable");
  });
  return {
    path,
    answered: async (deadline) => {
      const socket = await deadline.race(call.promise);
      await close();
      return socket;
    },
    close,
  };
}
