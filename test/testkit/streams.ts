import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Ledger, Resource } from "../../src/core/ledger.ts";

/** Creates a directory that is removed after the test. */
export function testDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "hull-io-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Creates a FIFO and returns its path. */
export function makeFifo(path: string): string {
  execFileSync("mkfifo", [path]);
  return path;
}

/** Returns two connected sockets: the shim's end of a guest stream, and the guest's. */
export async function socketPair(t: TestContext): Promise<[shim: Socket, guest: Socket]> {
  const path = join(testDirectory(t), "s");
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const shim = createConnection({ path, allowHalfOpen: true });
  const [guest] = await Promise.all([accepted, once(shim, "connect")]);
  guest.on("error", () => undefined);
  server.close();
  t.after(() => {
    shim.destroy();
    guest.destroy();
  });
  return [shim, guest];
}

/** A ledger in memory. */
export class MemoryLedger implements Ledger {
  readonly resources = new Set<{ resource: Resource }>();

  async record(resource: Resource) {
    const entry = { resource };
    this.resources.add(entry);
    return {
      update: async (later: Resource) => {
        entry.resource = later;
      },
      forget: async () => {
        this.resources.delete(entry);
      },
    };
  }
}
