/**
 * Mounts made on the host while a pod runs: containers see what containerd sees, with a private and a shared
 * root.
 */
import assert from "node:assert/strict";
import { mkdir, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { before, it } from "node:test";
import { IDLE } from "../testkit/cri.ts";
import { podProcesses } from "../testkit/pod-processes.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

/** MountPropagation of CRI. */
const HOST_TO_CONTAINER = 1;

for (const root of ["private", "shared"]) {
  forEveryHandler(
    `mounts of a caller whose root is ${root}`,
    (target, handler) => {
      const at = (name: string) => join(target().directory, name);
      const among = (...argv: [string, ...string[]]) => target().containerd.among(...argv);
      const tmpfs = (name: string) => among("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", at(name));
      const volume = (name: string, more: object = {}) => ({
        ...{ hostPath: at(name), containerPath: `/${name.replaceAll("/", "-")}` },
        ...more,
      });
      const pod = sharedPod(target);
      before(async () => {
        for (const name of ["late", "file-of"]) await mkdir(at(name));
      });

      it("reads and writes a volume mounted after the pod's start, without the mounts below it", async () => {
        assert.ok(pod().id);
        for (const name of ["late", "file-of"]) await tmpfs(name);
        await among(
          "sh",
          "-c",
          `cd ${at("late")}; mkdir more; echo mounted >file; echo one >${at("file-of/one")}`,
        );
        const mounts = [volume("late"), volume("file-of/one")];
        const container = await pod().run(IDLE, { mounts });
        const { stdout } = await container.sh("cat /late/file /file-of-one; echo written >/late/new");
        assert.equal(stdout, "mounted\none\n");
        assert.equal(await among("cat", at("late/new")), "written\n");
        assert.deepEqual([await readdir(at("late")), await readdir(at("file-of"))], [[], []]);
      });

      it("shows another container of the pod what is mounted in the volume by then", async () => {
        const idle = await pod().run(IDLE, { mounts: [volume("late")] });
        await tmpfs("late/more");
        await among("touch", at("late/more/here"));
        const other = await pod().run(IDLE, { mounts: [volume("late"), volume("late/more")] });
        assert.equal((await other.sh("ls /late/more /late-more; touch /late-more/new")).code, 0);
        assert.equal(await among("ls", at("late/more")), "here\nnew\n");
        // Volumes are private by default.
        assert.equal((await idle.sh("ls /late/more")).stdout, "");
        await among("umount", at("late/more"));
      });

      it("shows later mounts of the host in a container that asks for it, if the host's mount is shared", async () => {
        const mounts = [volume("late", { propagation: HOST_TO_CONTAINER })];
        if (root === "private")
          return await assert.rejects(pod().run(IDLE, { mounts }), /not a shared or slave/);
        const container = await pod().run(IDLE, { mounts });
        await tmpfs("late/more");
        await among("touch", at("late/more/later"));
        assert.equal((await container.sh("ls /late/more")).stdout, "later\n");
        // virtiofsd keeps open what a guest has accessed.
        await among("umount", "--lazy", at("late/more"));
      });

      if (handler === "hull")
        it("leaves access to the host's mounts to the shim only", async () => {
          const have = async (pid: number) => {
            const open = (await readdir(`/proc/${pid}/fd`)).map((fd) => `/proc/${pid}/fd/${fd}`);
            const links = await Promise.all(open.map((path) => readlink(path).catch(() => "")));
            return links.filter((link) => link.startsWith("mnt:")).length;
          };
          const found = await podProcesses("k8s.io", pod().id);
          assert.ok(found.size >= 3, [...found.keys()].join());
          for (const [role, pids] of found)
            for (const pid of pids) assert.equal(await have(pid), role === "shim" ? 1 : 0, role);
        });
    },
    ["2"],
    ["unshare", "--mount", `--propagation=${root}`],
  );
}
