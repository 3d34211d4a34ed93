import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../../src/core/deadline.ts";
import { makeShared, mount, unmountTree } from "../../src/host/mount.ts";
import { parseMountInfo } from "../../src/host/mountinfo.ts";
import { startVirtiofsd } from "../../src/storage/virtiofsd.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";

const there = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"].filter((path) => existsSync(path));

for (const path of there) {
  test(`what is mounted later shows in the sandbox of ${path}`, async () => {
    const directory = await mkdtemp(join(tmpdir(), "hull-fs-"));
    const shared = join(directory, "shared");
    const deadline = Deadline.after(20_000, "test");
    const ledger = new MemoryLedger();
    await mkdir(shared);
    await makeShared(shared, deadline);
    await mkdir(join(shared, "late"));
    const spec = { path, cache: "auto", extraArgs: [], directory, shared, pod: "test/fs" } as const;
    const daemon = await startVirtiofsd(spec, ledger, deadline);
    // The daemon builds its sandbox when a VMM has connected.
    const vmm = createConnection(daemon.socket);
    try {
      const own = await until(deadline, async () => {
        for (const pid of await sandboxed(daemon.process.pid)) {
          const mounts = parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, "utf8"));
          if (mounts.some(({ target, root }) => target === "/" && root.endsWith("/shared"))) return pid;
        }
        return undefined;
      });
      await mount({ type: "tmpfs", source: "late", target: "", options: [] }, join(shared, "late"), deadline);
      const mounts = parseMountInfo(await readFile(`/proc/${own}/mountinfo`, "utf8"));
      assert.ok(mounts.some(({ target, source }) => target === "/late" && source === "late"));
      await unmountTree(join(shared, "late"), deadline);
      const after = parseMountInfo(await readFile(`/proc/${own}/mountinfo`, "utf8"));
      assert.ok(!after.some(({ target }) => target === "/late"), "it is still mounted in the sandbox");
    } finally {
      vmm.destroy();
      await daemon.stop(Deadline.after(1000));
      await unmountTree(shared, deadline);
      await rm(directory, { recursive: true });
      deadline.dispose();
    }
    assert.deepEqual(ledger.resources, []);
  });
}

/** The daemon and its children: the sandbox may be a child's. */
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
