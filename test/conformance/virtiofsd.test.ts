import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { Deadline } from "../../src/core/deadline.ts";
import { parseMountInfo } from "../../src/core/mountinfo.ts";
import { procStatFields } from "../../src/core/proc-stat.ts";
import { childrenOf, isAlive, startTimeOf } from "../../src/host/proc.ts";
import { GUEST_SHARE, type SharedPath, SharedTree } from "../../src/storage/shared-tree.ts";
import { startVirtiofsd } from "../../src/storage/virtiofsd.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";
import { ownMountApi } from "../testkit/mount-api.ts";
import { within } from "../testkit/within.ts";

/** Those that are installed, and HULL_VIRTIOFSD (hack/fetch rust-virtiofsd). */
const daemons = [
  "/usr/lib/qemu/virtiofsd",
  "/usr/libexec/virtiofsd",
  process.env.HULL_VIRTIOFSD ?? "",
].filter((path) => existsSync(path));

for (const path of daemons) {
  test(`later mounts are visible in the sandbox of ${path}`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "hull-fs-"));
    const deadline = Deadline.after(20_000, "test");
    const ledger = new MemoryLedger();
    const api = ownMountApi();
    const tree = await SharedTree.create(join(directory, "shared"), api, deadline);
    const shared = tree.exported;
    const spec = { path, cache: "auto", extraArgs: [], directory, shared, pod: "test/fs" } as const;
    const daemon = await startVirtiofsd(spec, ledger, deadline);
    // The daemon sets up its sandbox when a VMM has connected.
    const vmm = createConnection(daemon.socket);
    try {
      const own = await until(deadline, async () => {
        for (const pid of await sandboxed(daemon.process.pid)) {
          const mounts = parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, "utf8"));
          if (mounts.some(({ target, root }) => target === "/" && root.endsWith("/shared/tree"))) return pid;
        }
        return undefined;
      });
      const mounts = async () => parseMountInfo(await readFile(`/proc/${own}/mountinfo`, "utf8"));
      const top = (await mounts()).find(({ target }) => target === "/");
      assert.ok(top?.options.includes("ro"), "the guest was able to create entries at the top");
      const late = { type: "tmpfs", source: "late", target: "", options: [] };
      const rootfs = await tree.addRootfs([late], deadline);
      const volume = await tree.addBind(import.meta.dirname, ["rbind", "ro"], deadline);
      const at = ({ guestPath }: SharedPath) => guestPath.slice(GUEST_SHARE.length);
      const made = await mounts();
      assert.ok(made.some(({ target, source }) => target === at(rootfs) && source === "late"));
      assert.ok(made.find(({ target }) => target === at(volume))?.options.includes("ro"));
      for (const path of [rootfs, volume]) await path.release(deadline);
      const left = (await mounts()).map(({ target }) => target);
      assert.ok(!left.includes(at(rootfs)) && !left.includes(at(volume)), "still mounted in the sandbox");
    } finally {
      vmm.destroy();
      await daemon.stop(within(30_000));
      await tree.dispose(deadline);
      await rm(directory, { recursive: true });
      deadline.dispose();
    }
    assert.deepEqual(ledger.resources, []);
  });
}

for (const path of daemons) {
  test(`a compromised worker does not outlive ${path}, nor do its children`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "hull-fs-"));
    const deadline = within(60_000);
    const ledger = new MemoryLedger();
    const tree = await SharedTree.create(join(directory, "shared"), ownMountApi(), deadline);
    const spec = {
      path,
      cache: "auto",
      extraArgs: [],
      directory,
      shared: tree.exported,
      pod: "test/fs",
    } as const;
    const daemon = await startVirtiofsd(spec, ledger, deadline);
    const vmm = createConnection(daemon.socket);
    try {
      // It serves only after it has confined itself, so an answer proves that.
      const worker = await until(deadline, async () => {
        const [child] = await childrenOf(daemon.process.pid);
        const status = await readFile(`/proc/${child}/status`, "latin1").catch(() => "");
        return /^Seccomp:\t2$/m.test(status) ? child : undefined;
      });
      await daemon.process.recordForks(deadline);
      const startTime = startTimeOf(worker) ?? "";
      const record = { kind: "process", role: "virtiofsd", pid: worker, startTime };
      assert.ok(ledger.resources.some((one) => isDeepStrictEqual(one, record)));
      // It has wiped its mark, ignores SIGTERM (its parent-death signal), and has forked.
      await wipeEnvironment(worker);
      process.kill(worker, "SIGSTOP");
      const inside = ["--pid", `--target=${worker}`, "--", "setsid", "sleep", "600"];
      const forked = spawn("nsenter", inside, { env: {}, stdio: "ignore" });
      await until(deadline, async () => ((await childrenOf(forked.pid ?? 0)).length > 0 ? true : undefined));
      const ended = once(forked, "exit");
      process.kill(daemon.process.pid, "SIGKILL");
      await daemon.process.exited;
      assert.ok(!isAlive(worker, startTime));
      await ended;
    } finally {
      vmm.destroy();
      await daemon.stop(within(30_000));
      await tree.dispose(within(30_000));
      await rm(directory, { recursive: true });
    }
    assert.deepEqual(ledger.resources, []);
  });
}

/** Overwrites what /proc/PID/environ shows, as a process can do in its own memory. */
async function wipeEnvironment(pid: number): Promise<void> {
  const fields = procStatFields(await readFile(`/proc/${pid}/stat`, "latin1"));
  // env_start and env_end
  const [start = 0, end = 0] = [fields[50], fields[51]].map(Number);
  const memory = await open(`/proc/${pid}/mem`, "r+");
  await memory.write(Buffer.alloc(end - start), 0, end - start, start);
  await memory.close();
  assert.ok(end > start && !(await readFile(`/proc/${pid}/environ`, "latin1")).includes("HULL"));
}

/** The daemon and its children: a child may have the sandbox. */
async function sandboxed(pid: number): Promise<number[]> {
  const children: number[] = [];
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${task}/children`, "latin1").catch(() => "");
    children.push(...text.split(" ").filter(Boolean).map(Number));
  }
  return [...children, pid];
}

async function until<T>(deadline: Deadline, probe: () => Promise<T | undefined>): Promise<T> {
  while (true) {
    deadline.check();
    const found = await probe();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
