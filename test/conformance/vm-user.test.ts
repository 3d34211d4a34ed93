/** Processes of a pod's user that remain at teardown: compromised ones, outside the pod's cgroup. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { pollUntil } from "../../src/core/poll-until.ts";
import { killAll } from "../../src/host/kill.ts";
import { isAlive, startTimeOf } from "../../src/host/proc.ts";
import { releaseVmUser, takeVmUser } from "../../src/host/vm-user.ts";
import { ROOT } from "../testkit/containerd.ts";
import { processesOfUser } from "../testkit/host-processes.ts";
import { MemoryLedger } from "../testkit/memory-ledger.ts";
import { within } from "../testkit/within.ts";

const run = promisify(execFile);
const DIST = join(ROOT, "dist");
const FIRST_ID = 1_600_000_000;
const LIMIT_MS = 60_000;

let programs: string;
let escaper: string;
let root: string;
let ledger: MemoryLedger;
const users = new Set<number>();

before(async () => {
  programs = await mkdtemp(join(tmpdir(), "hull-escape-"));
  escaper = join(programs, "escape");
  await run("cc", [
    "-O2",
    "-Wall",
    "-Werror",
    "-o",
    escaper,
    join(ROOT, "test/testkit/escape.c"),
    "-pthread",
  ]);
  await run("chmod", ["755", programs]);
});
after(() => rm(programs, { recursive: true }));
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-user-"));
  ledger = new MemoryLedger();
});
afterEach(async () => {
  for (const user of users) await endAll(user);
  users.clear();
  await rm(root, { recursive: true });
});

const endAll = (user: number) => run(join(DIST, "libexec/kill-user"), [String(user)]);
const pod = (id: string) => ({ directory: join(root, "test", id), namespace: "test", id });
const take = async (id: string) => {
  const user = await takeVmUser(FIRST_ID, pod(id), ledger, DIST);
  return { ...user, path: join(root, `.user-${user.id}`) };
};
/** Starts an escaped process as this user; its output ends when the last of its processes has exited. */
const asUser = async (user: number, way: string) => {
  users.add(user);
  const argv = [`--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--", escaper, way];
  const child = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"], env: {} });
  const { stdout } = child;
  let ended = false;
  stdout.once("end", () => {
    ended = true;
  });
  let output = "";
  stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  await once(stdout, "data");
  return { ended: () => ended, end: once(stdout, "end"), output: () => output };
};

const WAYS = [
  ...[
    "sleeps",
    "forks endlessly",
    "stops every process it can",
    "ends its first thread",
    "hides in namespaces",
  ],
  "kills every process it can",
  // It would hit a helper that runs as the user in four of ten attempts, and then repeatedly.
  ...Array.from({ length: 20 }, () => "kills the newest"),
];
for (const [index, way] of WAYS.entries()) {
  test(`a process that still runs as the pod's user is killed although it ${way} (${index + 1})`, {
    timeout: LIMIT_MS,
  }, async () => {
    const user = await take("p");
    const own = await asUser(user.id, way);
    const other = await asUser(user.id + 10_000_000, "sleeps");
    assert.equal(own.ended(), false);
    await user.release(within(LIMIT_MS));
    await own.end;
    assert.equal(own.output(), "up\n", "the helper was hit");
    assert.equal(other.ended(), false, "a process of another user was killed");
    await endAll(user.id + 10_000_000);
    await other.end;
    assert.deepEqual([ledger.resources, await readdir(root)], [[], []]);
  });
}

test("a process counts as running while any of its threads runs, even if the first has exited", async () => {
  const user = await take("p");
  const own = await asUser(user.id, "ends its first thread");
  const [pid = 0] = await processesOfUser(user.id);
  const limit = within(LIMIT_MS);
  await pollUntil(async () => / \(escape\) Z /.test(await readFile(`/proc/${pid}/stat`, "latin1")), limit);
  assert.deepEqual(await processesOfUser(user.id), [pid]);
  const startTime = startTimeOf(pid) ?? "";
  assert.ok(isAlive(pid, startTime));
  await killAll([{ pid, startTime }], limit);
  await own.end;
  await user.release(limit);
});

test("a user belongs to one pod until all its processes are gone, and only that pod can release it", async () => {
  const first = await take("first");
  assert.equal(await readlink(first.path), "test/first");
  assert.deepEqual(ledger.history, [{ kind: "user", path: first.path }]);
  const second = await take("second");
  assert.equal(second.id, first.id + 1);
  const left = await asUser(second.id, "sleeps");
  // A stale or wrong record kills no process.
  await releaseVmUser(second.path, pod("first"), DIST, within(LIMIT_MS));
  for (const path of [join(root, ".user-"), join(root, ".user-0x5"), join(root, "test/.user-1000")])
    await assert.rejects(releaseVmUser(path, pod("first"), DIST, within(LIMIT_MS)), {
      code: "InvalidArgument",
    });
  assert.equal(left.ended(), false);
  await first.release(within(LIMIT_MS));
  await first.release(within(LIMIT_MS));
  assert.ok((await lstat(second.path)).isSymbolicLink());
  await second.release(within(LIMIT_MS));
  await left.end;
  assert.deepEqual([ledger.resources, await readdir(root)], [[], []]);
});

test("a user that cannot be reserved is reported, and nothing is recorded", async () => {
  await mkdir(join(root, "test"));
  root = join(root, "gone");
  await assert.rejects(take("p"), { message: /allocate a user for the VM: .*\.user-\d+: ENOENT/ });
  assert.deepEqual(ledger.resources, []);
  root = join(root, "..");
});

test("the helper kills no process of root or a system user", async () => {
  for (const argument of ["0", "999", "-1", "4294967294", "4294967295", "4294968296", "1000x", "", " 5"])
    await assert.rejects(run(join(DIST, "libexec/kill-user"), [argument]), { code: 2 });
});
