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

/** The files of a template: the guest's memory, sparse, and the state of CPUs and devices. */
const MEMORY_FILE = "memory";
const STATE_FILE = "state";

/** `O_TMPFILE` of open(2) on x86: a file without a name, gone with its last descriptor. Node has no constant for it. */
const O_TMPFILE = 0o20200000;

/**
 * Saves a stopped machine whose memory is in `spec.memoryFile`: CPUs and devices as a migration stream without the
 * memory (capability x-ignore-shared), the memory as a copy that has holes where the guest's pages are zero.
 */
export async function saveTemplate(
  qmp: QmpClient,
  spec: VmSpec,
  directory: string,
  deadline: Deadline,
): Promise<void> {
  if (spec.memoryFile === undefined) throw internal("the machine's memory is not in a file");
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

/** Loads a template's state from an inherited descriptor. The memory must be in place. The machine stays stopped. */
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

/** A template opened for one clone: descriptors for QEMU to inherit. */
interface Clone {
  /** The clone's own memory: a file without a name on the template's file system. */
  readonly memory: number;
  readonly state: number;
  /** Copies what the template's guest has touched. */
  copyMemory(deadline: Deadline): Promise<void>;
  close(): Promise<void>;
}

/**
 * Memory for a VM: a file without a name in `folder`, which only `user` may open again (root without one). Nobody can give
 * it a name (O_EXCL), by which a VMM that was taken over could leave it on the host.
 */
export async function memoryFileIn(folder: string, user: ProcessUser | undefined): Promise<FileHandle> {
  const file = await open(folder, O_TMPFILE | constants.O_EXCL | constants.O_RDWR, 0o600);
  // QEMU opens it by /proc/self/fd, which looks at its owner.
  if (user) await file.chown(user.id, user.id);
  return file;
}

/** `copier`: the program native/copy-sparse.c. */
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

/** The end of a migration, told by QEMU's events. */
function migrated(qmp: QmpClient): { promise: Promise<void>; detach: () => void } {
  let detach = () => undefined as unknown;
  const promise = new Promise<void>((resolve, reject) => {
    detach = qmp.on("MIGRATION", ({ status }) => {
      if (status === "completed") resolve();
      else if (status === "failed" || status === "cancelled") {
        reject(unavailable(`qemu: the VM's state could not be transferred (migration ${status})`));
      }
    });
  });
  promise.catch(() => undefined); // the command that starts it may fail first
  return { promise, detach };
}

/** Writes what the first connection sends to `file`. */
async function receive(server: Server, file: string): Promise<void> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    server.once("connection", resolve).once("error", reject);
  });
  await pipeline(socket, createWriteStream(file, { flags: "wx", mode: 0o600 }));
}
