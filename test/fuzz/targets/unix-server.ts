import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A server on a Unix socket that answers the first bytes of every connection with `reply`, and closes it. */
export class UnixServer {
  reply: Uint8Array = new Uint8Array();
  #path: Promise<string> | undefined;
  #stop: (() => Promise<void>) | undefined;

  /** Resolves with its path; starts it on the first call. */
  path(): Promise<string> {
    this.#path ??= this.#start();
    return this.#path;
  }

  async #start(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), "hull-fuzz-"));
    const server = createServer((socket) => {
      socket.on("error", () => undefined); // the client may disconnect meanwhile
      socket.once("data", () => socket.end(this.reply));
    });
    const path = join(directory, "s");
    await new Promise<void>((resolve) => server.listen(path, resolve));
    this.#stop = async () => {
      server.close();
      await rm(directory, { recursive: true });
    };
    return path;
  }

  async close(): Promise<void> {
    await this.#stop?.();
  }
}
