import { constants, createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Deadline } from "../../core/deadline.ts";
import { HullError, internal, unavailable } from "../../core/errors.ts";
import type { ProcessUser } from "../../host/process-user.ts";
import { run } from "../../host/run.ts";
import type { VmSpec } from "../hypervisor.ts";
import type { QmpClient } from "./qmp-client.ts";

/** The guest's memory, sparse. */
const MEMORY_FILE = "memory";
/** The state of CPUs and devices. */
const STATE_FILE = "state";

/** `O_TMPFILE` of open(2) on x86, for which Node has no constant. */
const O_TMPFILE = 0o20200000;

/**
 * Saves a paused VM whose memory is in `spec.memoryFile`: CPUs and devices as a migration stream without memory
 * (capability x-ignore-shared), the memory as a sparse copy with holes for zero pages.
 */
export async function saveTemplate(
  qmp: QmpClient,
  spec: VmSpec,
  directory: string,
  deadline: Deadline,
): Promise<void> {
  if (spec.memoryFile === undefined) throw internal("the VM's memory is not in a file");
  await setCapabilities(qmp, deadline);
  const path = join(directory, "migration.sock");
  const server = createServer();
  const done = migrated(qmp);
  try {
    const saved = receive(server, join(directory, STATE_FILE));
    saved.catch(() => undefined); // awaited below
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
    await qmp.execute("migrate", { uri: `unix:${path}` }, deadline);
    await deadline.race(done.promise);
    await deadline.race(saved);
  } finally {
    done.detach();
    server.close();
  }
  await run(["cp", "--sparse=always", "--", spec.memoryFile, join(directory, MEMORY_FILE)], deadline);
}

/** Loads a template's state from an inherited descriptor. The memory must be in place. The VM stays paused. */
export async function loadState(qmp: QmpClient, fd: number, deadline: Deadline): Promise<void> {
  await setCapabilities(qmp, deadline);
  const done = migrated(qmp);
  try {
    await qmp.execute("migrate-incoming", { uri: `fd:${fd}` }, deadline);
    await deadline.race(done.promise);
  } finally {
    done.detach();
  }
}

/** A template opened for one clone, with descriptors for QEMU to inherit. */
interface Clone {
  /** The clone's own memory, an unlinked file on the template's file system. */
  readonly memory: number;
  readonly state: number;
  /** Copies the memory that the template's guest has used. */
  copyMemory(deadline: Deadline): Promise<void>;
  close(): Promise<void>;
}

/**
 * Creates an unlinked file for a VM's memory in `directory`, which only `user` (default: root) can open again. O_EXCL
 * prevents a VMM that was taken over from linking it, and thus from leaving it on the host.
 */
export async function memoryFileIn(directory: string, user: ProcessUser | undefined): Promise<FileHandle> {
  const file = await open(directory, O_TMPFILE | constants.O_EXCL | constants.O_RDWR, 0o600);
  // QEMU opens it through /proc/self/fd, where the owner is checked.
  if (user) await file.chown(user.id, user.id);
  return file;
}

/**
 * Opens a template for one clone and creates the clone's memory; the caller closes it. `copier` is the path of the program
 * native/copy-sparse.c.
 */
export async function openClone(
  template: string,
  user: ProcessUser | undefined,
  copier: string,
): Promise<Clone> {
  const files: FileHandle[] = [];
  const close = async () => {
    for (const file of files) await file.close();
  };
  const opened = async (opening: Promise<FileHandle>) => {
    const file = await opening;
    files.push(file);
    return file;
  };
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
    const source = await opened(open(join(template, MEMORY_FILE), flags));
    const state = await opened(open(join(template, STATE_FILE), flags));
    const memory = await opened(memoryFileIn(template, user));
    const { size } = await source.stat();
    await memory.truncate(size);
    const at = (file: FileHandle) => `/proc/${process.pid}/fd/${file.fd}`;
    return {
      memory: memory.fd,
      state: state.fd,
      copyMemory: async (deadline) => {
        await run([copier, at(source), at(memory)], deadline);
      },
      close,
    };
  } catch (thrown) {
    await close();
    throw HullError.ofCallersPath(`template ${template}`, thrown);
  }
}

async function setCapabilities(qmp: QmpClient, deadline: Deadline): Promise<void> {
  const capabilities = (["x-ignore-shared", "events"] as const).map((capability) => ({
    capability,
    state: true,
  }));
  await qmp.execute("migrate-set-capabilities", { capabilities }, deadline);
}

/** Waits for the event that reports a migration's end; needs the capability `events`. Rejects with Unavailable. */
export function migrated(qmp: QmpClient): { promise: Promise<void>; detach: () => void } {
  let detach = () => undefined as unknown;
  const promise = new Promise<void>((resolve, reject) => {
    detach = qmp.on("MIGRATION", ({ status }) => {
      if (status === "completed") resolve();
      else if (status === "failed" || status === "cancelled") {
        reject(unavailable(`qemu: the VM's state could not be transferred (migration ${status})`));
      }
    });
  });
  promise.catch(() => undefined); // the command that starts the migration may fail first
  return { promise, detach };
}

/** Writes what the first connection sends to `file`. */
async function receive(server: Server, file: string): Promise<void> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    server.once("connection", resolve).once("error", reject);
  });
  await pipeline(socket, createWriteStream(file, { flags: "wx", mode: 0o600 }));
}
