import { unlink } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import type { Deadline } from "../core/deadline.ts";
import { deferred } from "../core/deferred.ts";
import { HullError } from "../core/errors.ts";
import { HOST_PORT } from "../core/guest-ports.ts";
import type { Ledger } from "../core/ledger.ts";
import { checkSocketPath } from "../host/socket-path.ts";

/** A call that the guest is expected to make. */
interface GuestCall {
  /** The unix socket at which it arrives. */
  readonly path: string;
  /** The connection, once the guest has called. The first one counts; there is no second. */
  answered(deadline: Deadline): Promise<Socket>;
  /** Stops waiting. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listens for the guest's call. In the hybrid vsock protocol a guest's connect to port N of the host arrives at the
 * unix socket `<hybrid socket>_N`. That the guest calls is the sign that it is up: nothing has to be dialled and
 * dialled again, which vhost-device-vsock takes badly (README.md).
 */
export async function expectGuestCall(hybridSocket: string, ledger: Ledger): Promise<GuestCall> {
  const path = checkSocketPath(`${hybridSocket}_${HOST_PORT}`);
  const entry = await ledger.record({ kind: "socket", path });
  const call = deferred<Socket>();
  call.promise.catch(() => undefined); // whoever waits for it sees it, too
  const close = async () => {
    server.close();
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await entry.forget();
  };
  const server = createServer((socket) => {
    server.close(); // what comes after the first call is not listened to
    call.resolve(socket);
  });
  server.maxConnections = 1;
  server.on("error", (error) => call.reject(HullError.wrap(`listen on ${path}`, error, "Unavailable")));
  await unlink(path).catch(() => undefined); // what an earlier pod of this name left would be in the way
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
