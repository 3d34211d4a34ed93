import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, opendir, rename, rmdir, unlink } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, failedPrecondition } from "../core/errors.ts";
import { mountsBelow, unmountTree } from "./mount.ts";

/**
 * Unmounts everything at and below `path`, then removes it. Refuses to remove anything while something is still
 * mounted there, since that would be somebody's data. Idempotent.
 */
export async function removeTree(path: string, deadline: Deadline): Promise<void> {
  await unmountTree(path, deadline);
  const left = await mountsBelow(path);
  if (left.length > 0) throw failedPrecondition(`remove ${path}: ${left[0]} is still mounted`);
  await removeAll(path, deadline);
}

/**
 * Removes what is at `path` with all that is in it. A monitor that was taken over may own some of that, and put a link to
 * a directory of the host where a directory was just looked at. So each is opened as a directory and emptied by its descriptor, and
 * what lies deeper is moved up, as no path reaches deep enough. The directory that `path` is in must be ours. Idempotent.
 */
export async function removeAll(path: string, deadline: Deadline): Promise<void> {
  while (!(await removeOne(path))) {
    deadline.check(); // somebody may add to it for ever
    await inDirectory(path, async (top) => {
      for await (const name of namesIn(top, deadline))
        await removeOrMoveUp(Buffer.concat([top, name]), top, deadline);
    });
  }
}

async function removeOrMoveUp(path: Buffer, top: Buffer, deadline: Deadline): Promise<void> {
  if (await removeOne(path)) return;
  await inDirectory(path, async (directory) => {
    for await (const name of namesIn(directory, deadline)) {
      const entry = Buffer.concat([directory, name]);
      if (await removeOne(entry)) continue;
      await rename(entry, Buffer.concat([top, Buffer.from(randomBytes(16).toString("hex"))]));
    }
  });
  await removeOne(path);
}

/** Removes a file, a link or an empty directory. False where there is something else. */
async function removeOne(path: string | Buffer): Promise<boolean> {
  const unlinked = await unlink(path).catch(errnoAmong("ENOENT", "EISDIR"));
  if (unlinked !== "EISDIR") return true;
  const removed = await rmdir(path).catch(errnoAmong("ENOENT", "ENOTDIR", "ENOTEMPTY"));
  return removed === undefined || removed === "ENOENT";
}

/** Runs `use` with a directory's path by its descriptor, unless it has gone or become something else. */
async function inDirectory(path: string | Buffer, use: (directory: Buffer) => Promise<void>): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const directory = await open(path, flags).catch(errnoAmong("ENOENT", "ENOTDIR", "ELOOP"));
  if (typeof directory !== "object") return;
  try {
    await use(Buffer.from(`/proc/self/fd/${directory.fd}/`)).catch(errnoAmong("ENOENT"));
  } finally {
    await directory.close();
  }
}

/**
 * As bytes, since not every name is UTF-8, and one after the other: there may be more than there is memory for, and no
 * end of them while somebody adds to them.
 */
async function* namesIn(directory: Buffer, deadline: Deadline): AsyncGenerator<Buffer> {
  // The types have strings only.
  const options = { encoding: "buffer" as BufferEncoding };
  for await (const { name } of await opendir(directory.toString(), options)) {
    deadline.check();
    yield name as unknown as Buffer;
  }
}

/** For a failure that says how things stand. */
function errnoAmong<E extends string>(...expected: readonly E[]): (error: unknown) => E {
  return (error) => {
    const errno = expected.find((one) => one === errnoOf(error));
    if (errno === undefined) throw error;
    return errno;
  };
}
