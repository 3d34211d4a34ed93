/** A host with systemd is reset while pods run and start: run by `hack/test lab` next to a lab, not in it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

const LAB = join(import.meta.dirname, "../../hack/lab");
/** For a busy machine. */
const LIMIT_MS = 600_000;
const SERVICES = join(import.meta.dirname, "services");
const RUN = "lab-ctr run --runtime io.containerd.hull.v2 --cgroup hulltest.slice:hull";

describe("a reset of the host with pods", () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "hull-reboot-"));
    await lab("up", "--systemd");
    await lab("run", SERVICES);
  });
  after(async () => {
    await lab("down");
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs hack/lab with a directory of its own. Returns what it printed. Rejects if it fails. */
  function lab(...args: readonly string[]): Promise<string> {
    const env = { ...process.env, HULL_LAB_DIR: join(directory, "lab") };
    return new Promise((resolve, reject) => {
      execFile(LAB, args, { env, timeout: LIMIT_MS }, (error, stdout, stderr) => {
        if (error) reject(new Error(`hack/lab ${args.join(" ")}: ${stdout}\n${stderr}`));
        else resolve(stdout);
      }).stdin?.end();
    });
  }

  const inside = (script: string) => lab("run", "sh", "-ec", script);

  it("leaves nothing of hull's: containerd starts, and the ids can be used again", async () => {
    // c3 is being created.
    await inside(`
      for id in c1 c2; do ${RUN}:$id -d hull.test/busybox:latest $id sleep 1000; done
      setsid ${RUN}:c3 -d hull.test/busybox:latest c3 sleep 1000 </dev/null >/dev/null 2>&1 &
      while [ ! -e /run/hull/default/c3/state.json ]; do sleep 0.1; done`);
    await lab("reboot");
    await inside("systemctl is-active containerd");
    assert.match(await inside("lab-ctr tasks ls"), /^TASK +PID +STATUS *\n$/);
    const left = await inside(`
      ls -A /run/hull 2>/dev/null || true
      ls -A /dev/shm /run/netns 2>/dev/null | grep hull || true
      ls -d /sys/fs/cgroup/hulltest.slice 2>/dev/null || true
      systemctl list-units --all --no-legend 'hull*'
      ip -o link | grep hull || true
      pgrep -x 'qemu-system-x86|virtiofsd' || true
      grep /run/hull/ /proc/mounts || true`);
    assert.equal(left, "");
    const again = await inside(`
      for id in c1 c2; do
        lab-ctr containers rm $id
        ${RUN}:$id --rm hull.test/busybox:latest $id echo $id again
      done
      ls -A /run/hull/default 2>/dev/null || true`);
    assert.equal(again, "c1 again\nc2 again\n");
  });
});
