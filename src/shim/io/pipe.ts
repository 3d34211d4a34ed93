import { closeSync, constants, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { run } from "../../host/run.ts";

/** The descriptors of an anonymous pipe, both in blocking mode, as a child expects them. */
export interface Pipe {
  readonly read: number;
  readonly write: number;
}

/**
 * Creates pipes. Node lacks pipe(2), and its "pipe" for children is a socket pair, which a logger cannot open through
 * /dev/fd. So these are FIFOs, created in a temporary directory below `directory` and unlinked at once.
 */
export async function makePipes(count: number, directory: string, deadline: Deadline): Promise<Pipe[]> {
  const scratch = await mkdtemp(join(directory, "pipes-")).catch((error: unknown) => {
    throw HullError.wrap(`create a directory for pipes in ${directory}`, error);
  });
  const pipes: Pipe[] = [];
  try {
    const paths = Array.from({ length: count }, (_, index) => join(scratch, String(index)));
    await run(["mkfifo", "-m", "600", "--", ...paths], deadline);
    for (const path of paths) {
      // While this one is open, opening a single end does not block.
      const both = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      try {
        const read = openSync(path, constants.O_RDONLY);
        pipes.push({ read, write: openSync(path, constants.O_WRONLY) });
      } finally {
        closeSync(both);
      }
    }
    return pipes;
  } catch (error) {
    closePipes(pipes);
    throw HullError.wrap("create pipes", error);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function closePipes(pipes: readonly Pipe[]): void {
  for (const { read, write } of pipes) {
    closeSync(read);
    closeSync(write);
  }
}
