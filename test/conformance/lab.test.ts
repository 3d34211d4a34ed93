/** The emulated host of hack/lab, from outside: what it keeps from this machine, and what it leaves. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hostProcesses, type PodProcess } from "../testkit/host-processes.ts";

const LAB = join(import.meta.dirname, "../../hack/lab");
/** For a busy machine. */
const LIMIT_MS = 600_000;

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("hack/lab", () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "hull-lab-"));
    const { status, stderr } = await lab("up", "--memory", "2048");
    assert.equal(status, 0, stderr);
  });
  after(async () => {
    await lab("down");
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs hack/lab with a directory of its own, so that another lab of this clone is not touched. */
  function lab(...args: readonly string[]): Promise<Result> {
    const env = { ...process.env, HULL_LAB_DIR: join(directory, "lab") };
    return new Promise((resolve) => {
      const child = execFile(LAB, args, { env, timeout: LIMIT_MS }, (error, stdout, stderr) => {
        resolve({ status: error ? Number(error.code ?? -1) : 0, stdout, stderr });
      });
      child.stdin?.end("from stdin");
    });
  }

  /** The lab's processes. */
  async function processes(): Promise<PodProcess[]> {
    const all = await hostProcesses();
    return all.filter(
      ({ pid, argv }) => pid !== process.pid && argv.some((word) => word.includes(directory)),
    );
  }

  it("passes a command's arguments, streams and exit status", async () => {
    const script = 'printf "%s|" "$@"; cat; echo problem >&2; exit 42';
    const { status, stdout, stderr } = await lab("run", "sh", "-c", script, "sh", "a b", "it's", "$HOME");
    assert.deepEqual(
      { status, stdout, stderr },
      { status: 42, stdout: "a b|it's|$HOME|from stdin", stderr: "problem\n" },
    );
  });

  it("has KVM, vhost and cgroup v2, and this machine's files", async () => {
    const script =
      "ls /dev/kvm /dev/vhost-vsock /dev/vhost-net /sys/fs/cgroup/cgroup.controllers && cmp $0 $0";
    const { status, stderr } = await lab("run", "sh", "-c", script, import.meta.filename);
    assert.equal(status, 0, stderr);
  });

  it("keeps what it writes to itself", async () => {
    const file = join(directory, "written");
    const { status, stdout, stderr } = await lab(
      "run",
      "sh",
      "-c",
      `mkdir -p ${directory}; echo new >${file}; cat ${file}`,
    );
    assert.deepEqual({ status, stdout }, { status: 0, stdout: "new\n" }, stderr);
    assert.ok(!existsSync(file));
  });

  it("reaches no network", async () => {
    const { status, stderr } = await lab(
      "run",
      "bash",
      "-c",
      "timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.2.2/22'",
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /Connection refused|unreachable|timed out|^$/);
  });

  it("is started once", async () => {
    const { status, stderr } = await lab("up");
    assert.equal(status, 2);
    assert.match(stderr, /^hack\/lab: the lab is already up in .*; run hack\/lab down first\n$/);
  });

  it("leaves nothing after down, also if its QEMU was killed", async () => {
    assert.ok((await processes()).length > 0);
    for (const { pid, argv } of await processes()) {
      if (argv[0]?.includes("qemu-system")) process.kill(pid, "SIGKILL");
    }
    const { status, stderr } = await lab("down");
    assert.equal(status, 0, stderr);
    assert.deepEqual(await processes(), []);
    assert.deepEqual(await readdir(directory), []);
    assert.ok(!(await readFile("/proc/self/mountinfo", "utf8")).includes(directory));
    const run = await lab("run", "true");
    assert.deepEqual(run, {
      status: 2,
      stdout: "",
      stderr: "hack/lab: the lab is not up; run hack/lab up\n",
    });
  });
});
