/** Root file systems on disks: images of the blockfile snapshotter, mounted by the guest. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, it } from "node:test";
import { promisify } from "node:util";
import { IDLE } from "../testkit/cri.ts";
import { BUSYBOX } from "../testkit/ctr.ts";
import { forEveryRunner, RUNTIMES } from "./fixture.ts";

const run = promisify(execFile);
const SNAPSHOTTER = ["--snapshotter", "blockfile"];
const ROOT = "awk '$2 == \"/\" { print $1, $3, $4 }' /proc/mounts | tail -n 1 | cut -d , -f 1";

forEveryRunner(
  "block-rootfs",
  (runner) => {
    const made: string[] = [];

    /** Runs a container and keeps its snapshot, which `--rm` would remove. */
    const start = (id: string, command: readonly string[], flags: readonly string[] = []) => {
      made.push(id);
      const { ctr } = runner();
      return ctr.expect([
        "run",
        "--runtime",
        RUNTIMES.hull,
        ...SNAPSHOTTER,
        ...flags,
        BUSYBOX,
        id,
        ...command,
      ]);
    };
    const kill = async (id: string) => {
      await runner().ctr.expect(["tasks", "rm", "--force", id]);
    };
    /** Reads a file of a container's image, and whether the file system was unmounted cleanly. */
    const image = async (id: string, path: string) => {
      const { stdout } = await runner().ctr.expect(["snapshots", ...SNAPSHOTTER, "mounts", "/x", id]);
      const [file = ""] = /\/\S*snapshots\/\S+/.exec(stdout) ?? [];
      const { stdout: header } = await run("dumpe2fs", ["-h", file]);
      const { stdout: content } = await run("debugfs", ["-R", `cat ${path}`, file]);
      const clean = /^Filesystem state:\s+clean$/m.test(header) && !header.includes("needs_recovery");
      return { content, clean };
    };
    after(async () => {
      for (const id of made.splice(0)) await runner().ctr.call(["containers", "rm", id]);
    });

    it("is mounted by the guest, and is clean on the host after the VM has exited", async () => {
      const { stdout } = await start("single", [
        "sh",
        "-c",
        `${ROOT}; echo written >/file; stat -c %u:%g /home/test`,
      ]);
      assert.match(stdout, /^\/dev\/vd[a-z] ext4 rw\n1000:1000\n$/);
      assert.deepEqual(await image("single", "/file"), { content: "written\n", clean: true });
    });

    it("is read-only on request", async () => {
      const script = `${ROOT}; touch /x 2>&1 || echo refused`;
      const { stdout } = await start("readonly", ["sh", "-c", script], ["--read-only"]);
      assert.match(stdout, /^\/dev\/vd[a-z] ext4 ro\ntouch: .*Read-only file system\nrefused\n$/);
    });

    it("is clean once its container is deleted, while others of the pod keep running", async () => {
      const pod = (type: string) => [
        ...["--detach", "--annotation", `io.kubernetes.cri.container-type=${type}`],
        ...["--annotation", "io.kubernetes.cri.sandbox-id=pod"],
      ];
      await start("pod", IDLE, pod("sandbox"));
      await start("first", ["sh", "-c", "echo first >/file; exec sleep 60"], pod("container"));
      await start("second", IDLE, pod("container"));
      const exec = (id: string, script: string) =>
        runner().ctr.expect(["tasks", "exec", "--exec-id", "e", id, "sh", "-c", script]);
      await exec("first", "until test -e /file; do sleep 0.1; done");
      await kill("first");
      assert.deepEqual(await image("first", "/file"), { content: "first\n", clean: true });
      await start("third", IDLE, pod("container"));
      for (const id of ["second", "third"]) {
        const { stdout } = await exec(id, `echo ${id} >/file; ${ROOT}`);
        assert.match(stdout, /^\/dev\/vd[a-z] ext4 rw\n$/, id);
      }
      // The VM is killed while containers still run.
      await kill("pod");
      for (const id of ["second", "third"]) {
        await kill(id);
        assert.deepEqual(await image(id, "/file"), { content: `${id}\n`, clean: true }, id);
      }
    });
  },
  ["hull"],
  ["2"],
);
