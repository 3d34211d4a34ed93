import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { buildProgram } from "../../hack/lib/build/qjs.ts";
import { pollUntil } from "../../src/core/poll-until.ts";
import { startTimeOf } from "../../src/host/proc.ts";
import { DeleteResponse } from "../../src/proto/generated/containerd/task/v2/task.ts";
import { within } from "../testkit/within.ts";

/** The real launcher binary with a fake daemon. Needs root and a C compiler. */
const NAMESPACE = `launcher-test-${process.pid}`;
const STATE = `/run/hull/${NAMESPACE}`;
let prefix: string;
let launcher: string;

const DAEMON = `
const fs = require("node:fs"), net = require("node:net");
const [action, , namespace, , id] = process.argv.slice(2);
const dir = "/run/hull/" + namespace + "/" + id;
let connections = 0;
if (action === "daemon") {
  const server = net.createServer((socket) => socket.on("error", () => {}).end(JSON.stringify({
    pid: process.pid, connections: ++connections, env: process.env, cwd: process.cwd(), mnt: fs.readlinkSync("/proc/self/ns/mnt"),
    record: JSON.parse(fs.readFileSync(dir + "/bootstrap.json", "utf8")),
    oom: fs.readFileSync("/proc/self/oom_score_adj", "utf8").trim(),
    dumped: fs.readFileSync("/proc/self/coredump_filter", "utf8").trim(),
  }))).listen({ fd: 3 }, () => {
    if (fs.existsSync(process.cwd() + "/exits")) process.exit(3);
    if (!fs.existsSync(process.cwd() + "/hangs")) fs.writeSync(7, "\\n");
  });
  process.on("SIGUSR2", () => {
    server.close();
    setTimeout(() => { fs.rmSync(dir, { recursive: true }); process.exit(); }, 500);
  });
} else {
  if (fs.existsSync(dir + "/fail")) { console.error("still mounted"); process.exit(4); }
  if (fs.existsSync(dir + "/hang")) setInterval(() => {}, 1000);
  else fs.rmSync(dir, { recursive: true });
}`;

before(() => {
  prefix = mkdtempSync(join(tmpdir(), "hull-launcher-"));
  launcher = join(prefix, "bin/containerd-shim-hull-v2");
  buildProgram("src/bin/containerd-shim-hull-v2.ts", launcher);
  mkdirSync(join(prefix, "lib"));
  symlinkSync(process.execPath, join(prefix, "lib/node"));
  writeFileSync(join(prefix, "lib/shim.cjs"), DAEMON);
});

after(() => {
  rmSync(prefix, { recursive: true, force: true });
  rmSync(STATE, { recursive: true, force: true });
});

const ENVIRONMENT = {
  PATH: process.env.PATH,
  TTRPC_ADDRESS: "/run/x.ttrpc",
  NODE_OPTIONS: "--bad-option",
  SECRET: "s",
};

const argumentsOf = (action: string, id: string, bundle: string, namespace = NAMESPACE) => [
  ...["-namespace", namespace, "-address", "/run/x.sock", "-id", id],
  ...["-bundle", bundle, action],
];

function run(
  action: string,
  id: string,
  bundle: string,
  options: { input?: Uint8Array; namespace?: string; bin?: string } = {},
) {
  return spawnSync(options.bin ?? launcher, argumentsOf(action, id, bundle, options.namespace), {
    ...{ cwd: bundle, input: options.input ?? new Uint8Array(), env: ENVIRONMENT },
  });
}

/** Runs `delete` and asserts that it reports a process killed while it ran. */
function deleteKilled(id: string, bundle: string): void {
  const before = Math.floor(Date.now() / 1000);
  const { pid, exitStatus, exitedAt } = DeleteResponse.decode(run("delete", id, bundle).stdout);
  assert.deepEqual([pid, exitStatus], [0, 137]);
  const seconds = Number(exitedAt?.seconds);
  assert.ok(before <= seconds && seconds <= Date.now() / 1000, `${seconds}`);
}

/** As `run`, but does not wait for its exit. */
function begin(action: string, id: string, bundle: string): ChildProcess {
  const child = spawn(launcher, argumentsOf(action, id, bundle), { cwd: bundle, env: ENVIRONMENT });
  child.stdin.end();
  return child;
}

function makeBundle(t: TestContext, config?: object): string {
  const bundle = mkdtempSync(join(prefix, "bundle-"));
  t.after(() => rmSync(bundle, { recursive: true, force: true }));
  if (config) writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  execFileSync("mkfifo", [join(bundle, "log")]);
  return bundle;
}

// biome-ignore lint/suspicious/noExplicitAny: what the fake daemon reports about itself
function ask(id: string): Promise<any> {
  return new Promise((resolve, reject) => {
    let text = "";
    connect(`${STATE}/${id}/shim.sock`)
      .on("data", (chunk) => {
        text += chunk;
      })
      .on("end", () => resolve(JSON.parse(text)))
      .on("error", reject);
  });
}

/**
 * Waits until nothing listens any more: a killed process's descriptors are closed a moment after it is
 * reported dead.
 */
async function refused(id: string): Promise<void> {
  while (await answers(id)) await new Promise((resolve) => setTimeout(resolve, 5));
}

function answers(id: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(`${STATE}/${id}/shim.sock`, () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}

function kill(t: TestContext, id: string): number {
  const pid = Number(readFileSync(`${STATE}/${id}/shim.pid`, "utf8").split(" ")[0]);
  t.after(() => {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "ESRCH");
    }
  });
  return pid;
}

test("start tolerates pods whose teardown removes the namespace's empty directory concurrently", (t) => {
  const namespace = `${NAMESPACE}-race`;
  const directory = `/run/hull/${namespace}`;
  const script = `for (;;) try { require("node:fs").rmdirSync(${JSON.stringify(directory)}); } catch {}`;
  const remover = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
  t.after(() => remover.kill("SIGKILL"));
  for (let index = 0; index < 20; index++) {
    const bundle = makeBundle(t, {});
    const started = run("start", `p${index}`, bundle, { namespace });
    assert.equal(started.status, 0, String(started.stderr));
    process.kill(Number(readFileSync(`${directory}/p${index}/shim.pid`, "utf8").split(" ")[0]), "SIGKILL");
    rmSync(`${directory}/p${index}`, { recursive: true });
  }
  remover.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

test("only root can access the pod's directory and socket", (t) => {
  assert.equal(run("start", "modes", makeBundle(t, {})).status, 0);
  kill(t, "modes");
  const rights = (path: string) => {
    const { uid, gid, mode } = lstatSync(path);
    return [uid, gid, (mode & 0o777).toString(8)];
  };
  assert.deepEqual(rights(STATE), [0, 0, "711"]);
  assert.deepEqual(rights(`${STATE}/modes`), [0, 0, "700"]);
  for (const name of ["shim.sock", "bootstrap.json"])
    assert.deepEqual(rights(`${STATE}/modes/${name}`), [0, 0, "600"], name);
});

for (const [what, plant] of [
  ["that others may write", (path: string) => chmodSync(path, 0o777)],
  ["of another user", (path: string) => chownSync(path, 1000, 0)],
] as const) {
  test(`start refuses a state directory ${what}`, (t) => {
    const namespace = `${NAMESPACE}-planted`;
    mkdirSync(`/run/hull/${namespace}`, { recursive: true });
    t.after(() => rmSync(`/run/hull/${namespace}`, { recursive: true }));
    plant(`/run/hull/${namespace}`);
    const { status, stderr } = run("start", "p", makeBundle(t, {}), { namespace });
    assert.equal(status, 1);
    assert.match(String(stderr), /-planted is not a directory that only root can write to; remove it/);
  });
}

test("start returns the socket's address, starts a daemon with a scrubbed environment in its own mount namespace, and is refused the second time", async (t) => {
  const bundle = makeBundle(t, {});
  const started = performance.now();
  const { stdout, stderr, status } = run("start", "one", bundle);
  t.diagnostic(`start took ${(performance.now() - started).toFixed(1)} ms`);
  assert.deepEqual([String(stdout), String(stderr), status], [`unix://${STATE}/one/shim.sock`, "", 0]);
  const pid = kill(t, "one");
  assert.equal(readFileSync(join(bundle, "address"), "utf8"), String(stdout));
  const daemon = await ask("one");
  assert.equal(daemon.pid, pid);
  assert.deepEqual(Object.keys(daemon.env).sort(), ["MALLOC_ARENA_MAX", "PATH"]);
  assert.equal(daemon.cwd, bundle);
  assert.equal(daemon.record.ttrpcAddress, "/run/x.ttrpc");
  assert.equal(daemon.record.grpcAddress, "/run/x.sock");
  assert.notEqual(daemon.mnt, execFileSync("readlink", ["/proc/self/ns/mnt"], { encoding: "utf8" }).trim());
  const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
  assert.equal(Number(daemon.oom), Math.min(1000, own + 1));
  assert.equal(daemon.dumped, "00000031", "core dumps must not contain shared anonymous memory");

  rmSync(`${STATE}/one/unused`); // as the daemon does when something is created
  const again = run("start", "one", makeBundle(t, {}));
  assert.equal(again.status, 1);
  assert.match(String(again.stderr), /^hull: start one: one: a shim with this id is running.*\n$/);
  assert.equal((await ask("one")).pid, pid, "the first is unharmed");

  // A container of its pod gets its address, and Delete of the container does not touch the pod.
  const annotations = {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-id": "one",
  };
  const member = makeBundle(t, { annotations });
  assert.equal(String(run("start", "member", member).stdout), String(stdout));
  for (const [id, from] of [
    ["member", member],
    ["one", bundle],
  ] as const) {
    deleteKilled(id, from);
    assert.equal((await ask("one")).pid, pid, `delete ${id} leaves the living pod alone`);
  }

  // Its daemon dies: start and delete of the member report it, delete of the pod cleans up and can be
  // repeated.
  process.kill(pid, "SIGKILL");
  await refused("one");
  assert.match(String(run("start", "member", member).stderr), /sandbox one: its shim does not answer/);
  assert.equal(run("delete", "member", member).status, 0);
  assert.equal(existsSync(`${STATE}/one`), true);
  deleteKilled("one", bundle);
  assert.equal(existsSync(`${STATE}/one`), false);
  const fast = performance.now();
  deleteKilled("one", bundle);
  t.diagnostic(`delete of nothing took ${(performance.now() - fast).toFixed(1)} ms`);
});

test("start cleans up after a dead pod of the same id", async (t) => {
  mkdirSync(`${STATE}/stale`, { recursive: true, mode: 0o700 });
  chmodParents();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${STATE}/stale/shim.sock`, resolve));
  execFileSync("mv", [`${STATE}/stale/shim.sock`, `${STATE}/stale/kept`]);
  await new Promise((resolve) => server.close(resolve));
  execFileSync("mv", [`${STATE}/stale/kept`, `${STATE}/stale/shim.sock`]);
  assert.equal(run("start", "stale", makeBundle(t)).status, 0);
  assert.equal((await ask("stale")).pid, kill(t, "stale"));
});

test("start waits for the exit of a shim of the same id that accepts no calls any more", async (t) => {
  const bundle = makeBundle(t, {});
  assert.equal(run("start", "ending", bundle).status, 0);
  const first = kill(t, "ending");
  await ask("ending"); // its signal handler is installed by now
  process.kill(first, "SIGUSR2");
  await refused("ending");
  const { status, stderr } = run("start", "ending", makeBundle(t, {}));
  assert.equal(status, 0, String(stderr));
  const second = kill(t, "ending");
  assert.notEqual(second, first);
  assert.equal((await ask("ending")).pid, second);
});

test("start replaces a shim of the same id that has never got a Create", async (t) => {
  const bundle = makeBundle(t, {});
  assert.equal(run("start", "unused", bundle).status, 0);
  const first = kill(t, "unused");
  await ask("unused");
  const { status, stderr } = run("start", "unused", makeBundle(t, {}));
  assert.equal(status, 0, String(stderr));
  const second = kill(t, "unused");
  assert.notEqual(second, first);
  assert.equal((await ask("unused")).pid, second);
  assert.equal(startTimeOf(first), undefined);
});

test("start is refused while a shim of the same id still waits for its first call", async (t) => {
  assert.equal(run("start", "called", makeBundle(t, {})).status, 0);
  const first = kill(t, "called");
  await ask("called");
  const refused = begin("start", "called", makeBundle(t, {}));
  const ended = once(refused, "exit");
  let asked = 1;
  const alone = async () => (await ask("called")).connections === ++asked;
  await pollUntil(async () => !(await alone()), within(60_000, "the other start to look at the shim"));
  rmSync(`${STATE}/called/unused`);
  assert.deepEqual(await ended, [1, null]);
  assert.equal((await ask("called")).pid, first, "the first is unharmed");
});

test("start is refused while another start of the same id is running", async (t) => {
  const bundle = makeBundle(t, {});
  writeFileSync(join(bundle, "hangs"), "");
  const slow = begin("start", "slow", bundle);
  const ended = once(slow, "exit");
  await pollUntil(() => existsSync(`${STATE}/slow/shim.pid`), within(60_000));
  const { status, stderr } = run("start", "slow", makeBundle(t, {}));
  assert.equal(status, 1);
  assert.match(String(stderr), /a shim with this id is running/);
  slow.kill("SIGKILL");
  await ended;
  process.kill(kill(t, "slow"), "SIGKILL");
});

/** mkdir with `recursive` creates parents with the umask's mode; the launcher accepts that or stricter. */
function chmodParents(): void {
  execFileSync("chmod", ["0711", STATE]);
}

test("a refused start leaves nothing behind", (t) => {
  const bundle = makeBundle(t, {});
  const cases: [string, RegExp, { namespace?: string; input?: Uint8Array; bundle?: string }][] = [
    ["../x", /id "\.\.\/x" is not valid/, {}],
    ["a/b", /is not valid/, {}],
    ["", /id is empty/, {}],
    ["x".repeat(77), /77 characters, 76 are allowed/, {}],
    ["x".repeat(76), /socket path .* 107 are allowed; shorten/, {}],
    ["x", /namespace "\.\." is not valid/, { namespace: ".." }],
    ["x", /neither runtime options nor BootstrapParams/, { input: Buffer.from("garbage") }],
  ];
  for (const [id, message, options] of cases) {
    const { status, stdout, stderr } = run("start", id, bundle, options);
    assert.deepEqual([status, String(stdout)], [1, ""], id);
    assert.match(String(stderr), message);
    assert.equal(String(stderr).trimEnd().includes("\n"), false, "one line");
  }
  writeFileSync(join(bundle, "config.json"), "{");
  assert.match(String(run("start", "x", bundle).stderr), /config\.json is not JSON/);
  assert.equal(run("delete", "x", bundle).status, 0, "a broken bundle can be deleted");
  assert.equal(existsSync(join(bundle, "address")), false);
  assert.equal(existsSync(`${STATE}/x`), false);
});

test("start reports a daemon that cannot be started, and leaves nothing behind", (t) => {
  const other = mkdtempSync(join(tmpdir(), "hull-launcher-bad-"));
  t.after(() => rmSync(other, { recursive: true, force: true }));
  mkdirSync(join(other, "bin"));
  mkdirSync(join(other, "lib"));
  const bin = join(other, "bin/containerd-shim-hull-v2");
  execFileSync("cp", [launcher, bin]);
  const bundle = makeBundle(t);
  assert.match(
    String(run("start", "bad", bundle, { bin }).stderr),
    /lib\/node does not exist: the installation of hull is incomplete; run/,
  );
  writeFileSync(join(other, "lib/node"), "no program", { mode: 0o755 });
  writeFileSync(join(other, "lib/shim.cjs"), "");
  const { status, stderr } = run("start", "bad", bundle, { bin });
  assert.equal(status, 1);
  assert.match(String(stderr), /start .*lib\/node: .*ENOEXEC|[Ee]xec format/);
  assert.equal(existsSync(`${STATE}/bad`), false);
  assert.equal(existsSync(join(bundle, "address")), false);
});

for (const [how, error] of [
  ["exits", /start late: the daemon exited with status 3 before it was serving; check .*limits of processes/],
  ["hangs", /start late: the daemon \(process \d+\) is not serving after 10000 ms; check .*limits/],
] as const) {
  test(`a daemon that ${how} before it serves: start reports it, leaves nothing behind, and the id can be reused`, async (t) => {
    const bundle = makeBundle(t);
    writeFileSync(join(bundle, how), "");
    const { status, stderr } = run("start", "late", bundle);
    assert.equal(status, 1);
    assert.match(String(stderr), error);
    assert.equal(existsSync(`${STATE}/late`), false);
    assert.equal(existsSync(join(bundle, "address")), false);
    const pid = /process (\d+)/.exec(String(stderr))?.[1];
    while (pid && startTimeOf(Number(pid)) !== undefined)
      await new Promise((resolve) => setTimeout(resolve, 5));
    rmSync(join(bundle, how));
    assert.equal(run("start", "late", bundle).status, 0);
    process.kill(Number(readFileSync(`${STATE}/late/shim.pid`, "latin1").split(" ")[0]), "SIGKILL");
  });
}

test("a cleanup that fails or hangs fails delete in time, with its message", (t) => {
  const bundle = makeBundle(t);
  mkdirSync(`${STATE}/dead`, { recursive: true, mode: 0o700 });
  writeFileSync(`${STATE}/dead/fail`, "");
  const { status, stdout, stderr } = run("delete", "dead", bundle);
  assert.deepEqual([status, stdout.length], [1, 0]);
  assert.match(String(stderr), /cleanup of .*dead exited with status 4: still mounted/);
  rmSync(`${STATE}/dead/fail`);
  writeFileSync(`${STATE}/dead/hang`, "");
  // containerd kills it after 5 s.
  assert.match(String(run("delete", "dead", bundle).stderr), /timed out after 4000 ms/);
});

test("delete unmounts the bundle's rootfs", (t) => {
  const bundle = makeBundle(t);
  mkdirSync(join(bundle, "rootfs"));
  execFileSync("mount", ["-t", "tmpfs", "none", join(bundle, "rootfs")]);
  assert.equal(run("delete", "mounted", bundle).status, 0);
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes(bundle), false);
});
