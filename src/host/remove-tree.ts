import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, opendir, rename, rmdir, unlink } from "node:fs/promises";
import type { Deadline } from "../core/deadline.ts";
import { errnoOf, failedPrecondition } from "../core/errors.ts";
import { mountsBelow, unmountTree } from "./mount.ts";

/**
 * Unmounts everything at and below `path`, then removes it. Throws FailedPrecondition, and removes nothing,
 * if something is still mounted there: that would delete its data. Idempotent.
 */
export async function removeTree(path: string, deadline: Deadline): Promise<void> {
  await unmountTree(path, deadline);
  const left = await mountsBelow(path);
  if (left.length > 0) throw failedPrecondition(`remove ${path}: ${left[0]} is still mounted`);
  await removeAll(path, deadline);
}

/**
 * Removes `path` recursively; its parent must be ours. Idempotent. A compromised VMM may swap in symlinks, so
 * a directory is emptied by its descriptor; deep ones are moved up first, since paths have a maximum length.
 */
export async function removeAll(path: string, deadline: Deadline): Promise<void> {
  while (!(await removeOne(path))) {
    deadline.check(); // a VMM may keep adding files
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

/** Removes a file, a symlink or an empty directory. False for a directory with contents. */
async function removeOne(path: string | Buffer): Promise<boolean> {
  const unlinked = await unlink(path).catch(errnoAmong("ENOENT", "EISDIR"));
  if (unlinked !== "EISDIR") return true;
  const removed = await rmdir(path).catch(errnoAmong("ENOENT", "ENOTDIR", "ENOTEMPTY"));
  return removed === undefined || removed === "ENOENT";
}

/** Runs `use` with a directory's path by its descriptor, unless it is gone or not a directory any more. */
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
 * The names as bytes, since they may not be UTF-8, and one by one, since they may exceed memory and never end
 * while a process adds more.
 */
async function* namesIn(directory: Buffer, deadline: Deadline): AsyncGenerator<Buffer> {
  // Node's types only allow encodings of strings.
  const options = { encoding: "buffer" as BufferEncoding };
  for await (const { name } of await opendir(directory.toString(), options)) {
    deadline.check();
    yield name as unknown as Buffer;
  }
}

/** Returns a handler that turns the expected errnos into values and rethrows all others. */
function errnoAmong<E extends string>(...expected: readonly E[]): (error: unknown) => E {
  return (error) => {
    const errno = expected.find((one) => one === errnoOf(error));
    if (errno === undefined) throw error;
    return errno;
  };
}
