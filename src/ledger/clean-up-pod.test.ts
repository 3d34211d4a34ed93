import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import {
  access,
  constants,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { processesOfUser } from "../../test/testkit/host-processes.ts";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import type { Resource } from "../core/ledger.ts";
import { pollUntil } from "../core/poll-until.ts";
import { findByMark, startTimeOf } from "../host/proc.ts";
import { type HostProcess, launch } from "../host/process-launcher.ts";
import { run } from "../host/run.ts";
import { takeVmUser } from "../host/vm-user.ts";
import { runBatches } from "../network/in-netns.ts";
import { tapPrefix } from "../network/pod-network.ts";
import { mirror } from "../network/tcfilter.ts";
import { hostHierarchies, PodCgroup } from "../resources/pod-cgroup.ts";
import { cleanUpPod } from "./clean-up-pod.ts";
import { releaseRecorded } from "./release.ts";
import { STATE_FILE, StateFile } from "./state-file.ts";

const ROOT = process.geteuid?.() === 0;
const DIST = join(import.meta.dirname, "../../dist");
const namespace = "test";
const id = `cleanup-${process.pid}`;
const pod = `${namespace}/${id}`;

let root: string;
let directory: string;
let state: StateFile;
let warnings: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-cleanup-"));
  directory = join(root, namespace, id);
  await mkdir(directory, { recursive: true });
  warnings = [];
  state = new StateFile(directory, namespace, id, (text) => void warnings.push(text));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const cleanUp = () =>
  cleanUpPod({ directory, namespace, id }, DIST, (text) => void warnings.push(text), within(20_000));
const recorded = async () => JSON.parse(await readFile(join(directory, STATE_FILE), "utf8")).resources;
const exists = () => existsSync(directory);
/** Starts a process of the pod and records it as the daemon does. */
const helper = async (): Promise<HostProcess> => {
  const started = await launch({ role: "helper", argv: ["/bin/sleep", "60"], pod }, new MemoryLedger());
  const { pid } = started;
  await state.record({ kind: "process", role: "helper", pid, startTime: startTimeOf(pid) ?? "" });
  return started;
};

/** Must not be removed: it is not in the pod's directory. */
const FOREIGN: Resource = { kind: "directory", path: "/nobody/removes/this" };

describe("cleanup of a pod whose daemon is gone", () => {
  it("releases what is recorded and removes the directory", async () => {
    await state.record({ kind: "directory", path: join(directory, "vm") });
    await mkdir(join(directory, "vm"));
    const { exited } = await helper();
    await cleanUp();
    assert.equal((await exited).signal, "SIGKILL");
    assert.deepEqual([exists(), warnings], [false, []]);
    await cleanUp();
  });

  it("attempts every step, reports all failures, keeps what failed, and retries only that", async () => {
    await state.record(FOREIGN);
    await state.record({ kind: "socket", path: join(directory, "vm", "..", "..", "other") });
    await state.record({ kind: "directory", path: join(directory, "vm") });
    await mkdir(join(directory, "vm"));
    const { exited } = await helper();
    await assert.rejects(cleanUp(), (error: Error) => {
      assert.match(error.message, /socket .*other: it is not in the pod's directory/);
      assert.match(error.message, /directory \/nobody\/removes\/this: it is not in the pod's directory/);
      return true;
    });
    await exited;
    assert.deepEqual(await readdir(directory), [STATE_FILE]);
    assert.deepEqual(
      (await recorded()).map(({ kind }: Resource) => kind),
      ["directory", "socket"],
    );
    await writeFile(join(directory, STATE_FILE), JSON.stringify({ version: 1, resources: [] }));
    await cleanUp();
    assert.equal(exists(), false);
  });

  const BROKEN: { name: string; says: RegExp; spoil: (path: string) => Promise<unknown> }[] = [
    { name: "empty", says: /truncated or damaged/, spoil: (path) => truncate(path, 0) },
    {
      name: "truncated",
      says: /truncated or damaged/,
      spoil: async (path) => truncate(path, (await readFile(path)).length - 4),
    },
    {
      name: "of another version",
      says: /its version is 2, this program's is 1/,
      spoil: async (path) =>
        writeFile(path, (await readFile(path, "utf8")).replace('"version":1', '"version":2')),
    },
    {
      name: "with an unknown kind of entry",
      says: /it contains an unknown entry: \[\{"kind":"tunnel"/,
      spoil: async (path) =>
        writeFile(path, (await readFile(path, "utf8")).replace("[", '[{"kind":"tunnel","name":"t"},')),
    },
    {
      name: "a directory",
      says: /EISDIR/,
      spoil: async (path) => {
        await rm(path);
        await mkdir(path);
      },
    },
  ];
  for (const { name, says, spoil } of BROKEN) {
    it(`a ledger that is ${name}: warns, kills the processes and removes the directory`, async () => {
      const { exited } = await helper();
      await state.record({ kind: "socket", path: join(directory, "fs.sock") });
      await spoil(join(directory, STATE_FILE));
      await cleanUp();
      await exited;
      assert.deepEqual(await findByMark(pod), []);
      assert.equal(exists(), false);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? "", says);
    });
  }

  it("releases what a truncated ledger still names", { skip: !ROOT }, async () => {
    const image = join(root, "image");
    await writeFile(image, "");
    await truncate(image, 1 << 20);
    await run(["losetup", "--find", "--", image], within(30_000));
    await state.record({ kind: "loop", file: image });
    await state.record({ kind: "socket", path: join(directory, "fs.sock") });
    await truncate(join(directory, STATE_FILE), (await readFile(join(directory, STATE_FILE))).length - 10);
    await cleanUp();
    assert.equal((await run(["losetup", "-n", "-O", "NAME", "-j", image], within(30_000))).trim(), "");
    assert.equal(exists(), false);
  });

  it("releases a tap once that both a damaged ledger and its name lead to", {
    skip: !ROOT,
  }, async () => {
    const name = `hull-cleanup-${process.pid}`;
    const tap = `${tapPrefix(pod)}0`;
    const ip = (...args: string[]) => run(["ip", ...args], within(20_000));
    await ip("netns", "add", name);
    try {
      await ip("-n", name, "tuntap", "add", tap, "mode", "tap");
      await state.record({ kind: "tap", netns: `/run/netns/${name}`, name: tap });
      await state.record({ kind: "directory", path: join(directory, "vm") });
      const ledger = join(directory, STATE_FILE);
      await truncate(ledger, (await readFile(ledger)).length - 20);
      await cleanUp();
      assert.equal(exists(), false);
      assert.equal((await ip("-n", name, "-o", "link")).includes(tap), false);
    } finally {
      await ip("netns", "del", name);
    }
  });

  it("finds the network of a pod whose ledger is lost, wherever its netns is", {
    skip: !ROOT,
  }, async () => {
    const tap = `${tapPrefix(pod)}0`;
    const named = join(root, "netns");
    await writeFile(named, "");
    // One netns is bound outside the directory of ip-netns(8), the other is kept only by a process.
    await run(["unshare", `--net=${named}`, "true"], within(30_000));
    const holder = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep 60"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    try {
      for (const netns of [named, `/proc/${holder.pid}/ns/net`]) {
        const ip = (...args: string[]) =>
          run(["nsenter", `--net=${netns}`, "--", "ip", ...args], within(30_000));
        await ip("link", "add", "eth0", "type", "veth", "peer", "name", "far");
        for (const name of [tap, "hull-other-0"]) await ip("tuntap", "add", name, "mode", "tap");
        const mirrors = mirror([{ tap, interface: "eth0", mtu: 1500 }]);
        await runBatches(netns, { ip: [], tc: mirrors }, within(30_000));
        await mkdir(directory, { recursive: true });
        await writeFile(join(directory, STATE_FILE), "garbage");
        await cleanUp();
        const links = await ip("-o", "link");
        assert.deepEqual([links.includes(tap), links.includes("hull-other-0")], [false, true]);
        const qdiscs = await run(["nsenter", `--net=${netns}`, "--", "tc", "qdisc"], within(30_000));
        assert.doesNotMatch(qdiscs, /ingress/);
      }
    } finally {
      holder.kill("SIGKILL");
      await once(holder, "exit");
      await run(["umount", named], within(30_000));
    }
  });

  it("records a netns that cannot be read in time, and looks there the next time", {
    skip: !ROOT,
  }, async () => {
    const named = join(root, "netns");
    const tap = `${tapPrefix(pod)}0`;
    const links = () => run(["nsenter", `--net=${named}`, "--", "ip", "-o", "link"], within(30_000));
    await writeFile(named, "");
    await run(["unshare", `--net=${named}`, "ip", "tuntap", "add", tap, "mode", "tap"], within(30_000));
    const path = process.env.PATH;
    const bin = join(root, "bin");
    await mkdir(bin);
    const nsenter = (await run(["sh", "-c", "command -v nsenter"], within(30_000))).trim();
    const stalling = `#!/bin/sh\n[ "$1" = "--net=${named}" ] && exec sleep 60\nexec ${nsenter} "$@"\n`;
    await writeFile(join(bin, "nsenter"), stalling, { mode: 0o755 });
    try {
      process.env.PATH = `${bin}:${path}`;
      const { exited } = await helper();
      await writeFile(join(directory, STATE_FILE), "garbage");
      await assert.rejects(cleanUp(), /unread network namespaces: .*netns: look for taps of pod/);
      await exited;
      assert.deepEqual(await recorded(), [{ kind: "netns", path: named }]);
      process.env.PATH = path;
      assert.ok((await links()).includes(tap));
      await cleanUp();
      assert.equal(exists(), false);
      assert.equal((await links()).includes(tap), false);
    } finally {
      process.env.PATH = path;
      await run(["umount", named], within(30_000));
    }
  });

  it("drops the record of a netns that is gone", { skip: !ROOT }, async () => {
    const path = join(root, "netns");
    await writeFile(path, "left over");
    await state.record({ kind: "netns", path });
    await state.record({ kind: "netns", path: "/proc/0/ns/net" });
    await state.record({ kind: "tap", netns: path, name: `${tapPrefix(pod)}0` });
    await cleanUp();
    assert.equal(exists(), false);
  });

  for (const lost of [false, true]) {
    it(`kills what still runs as the pod's user, by ${lost ? "name" : "the ledger"}, without a cgroup`, {
      skip: !ROOT,
    }, async () => {
      const first = 1_700_000_000;
      const { id: user } = await takeVmUser(first, state, state, DIST);
      const { id: others } = await takeVmUser(first, { directory, namespace, id: "other" }, state, DIST);
      const sleepers = [user, others].map((number) =>
        spawn("setpriv", [`--reuid=${number}`, "--clear-groups", "--", "setsid", "sleep", "60"], {
          env: {},
          stdio: "ignore",
        }),
      );
      const [own, other] = sleepers.map((sleeper) => once(sleeper, "exit"));
      await pollUntil(async () => (await processesOfUser(others)).length === 1, within(20_000));
      try {
        if (lost) await writeFile(join(directory, STATE_FILE), "garbage");
        await cleanUp();
        assert.deepEqual((await own)?.[1], "SIGKILL");
        assert.deepEqual(await processesOfUser(user), []);
        assert.equal((await processesOfUser(others)).length, 1, "the other pod's keep running");
        assert.deepEqual(await readdir(root), [`.user-${others}`]);
      } finally {
        await run([join(DIST, "libexec/kill-user"), String(others)], within(20_000));
        await other;
      }
    });
  }

  it("finds the cgroup of a pod whose ledger is lost", { skip: !ROOT }, async (t) => {
    const where = await hostHierarchies();
    const locked = await Promise.all(where.map(({ mount }) => access(mount, constants.W_OK))).catch(
      () => true,
    );
    if (where.length === 0 || locked === true) return t.skip("the cgroups of this host cannot be changed");
    const group = await PodCgroup.enter(`/${namespace}/${id}`, new MemoryLedger(), where);
    await group.leave();
    await writeFile(join(directory, STATE_FILE), "garbage");
    await cleanUp();
    try {
      for (const { mount } of where) assert.equal(existsSync(`${mount}/${namespace}/${id}`), false);
    } finally {
      await group.release(within(30_000));
    }
  });
});

describe("a ledger that cannot be written", () => {
  it("does not prevent a process from being stopped: its entry stays, with a warning", async () => {
    const started = await launch({ role: "helper", argv: ["/bin/sleep", "60"], pod }, state);
    const inTheWay = join(directory, `${STATE_FILE}.new`);
    await mkdir(inTheWay);
    await started.stop(within(30_000));
    assert.equal((await started.exited).requested, true);
    assert.deepEqual(
      state.resources.map(({ kind }) => kind),
      ["process"],
    );
    assert.match(warnings.join(), /state\.json: EISDIR.*a process that was released stays recorded/);
    await rm(inTheWay, { recursive: true });
    await releaseRecorded(state, DIST, within(30_000));
    assert.deepEqual([state.resources, await recorded()], [[], []]);
  });
});
