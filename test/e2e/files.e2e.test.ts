/** Features of a volume's file system compared with runc, and the number of files in use. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { IDLE } from "../testkit/cri.ts";
import { processes } from "../testkit/resources.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";
import { forEveryRunner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const run = promisify(execFile);
const PROGRAM = join(dirname(fileURLToPath(import.meta.url)), "file-semantics.c");
/** MountPropagation of CRI. */
const HOST_TO_CONTAINER = 1;
const BIDIRECTIONAL = 2;

forEveryHandler(
  "files",
  (target, handler) => {
    if (handler === "hull-sandbox") return; // the same VM as with hull
    const hull = handler === "hull";
    const at = (name: string) => join(target().directory, name);
    const volume = (name: string, containerPath: string, more: object = {}) => ({
      ...{ hostPath: at(name), containerPath },
      ...more,
    });

    before(async () => {
      for (const name of ["bin", "files", "shared", "tree/sub", "late"])
        await mkdir(at(name), { recursive: true });
      await run("cc", ["-O1", "-static", "-o", at("bin/fs"), PROGRAM]);
      await run("mount", ["-t", "tmpfs", "tmpfs", at("tree/sub")]);
      await run("mount", ["-t", "tmpfs", "tmpfs", at("late")]);
      await run("mount", ["--make-shared", at("late")]);
      await mkdir(at("late/sub"));
      await mkdir(at("late/new"));
    });
    after(async () => {
      for (const name of ["late", "tree/sub"]) await run("umount", ["--recursive", "--lazy", at(name)]);
    });
    const pod = sharedPod(target, { linux: { securityContext: { privileged: true } } });

    it("behaves like a local file system", async () => {
      const mounts = [volume("bin", "/b"), volume("files", "/files")];
      const container = await pod().run(IDLE, { mounts, linux: { securityContext: { privileged: true } } });
      for (const path of ["/files", "/tmp"]) {
        const { stdout } = await container.sh(`/b/fs check ${path}`);
        const lines = stdout.trimEnd().split("\n");
        assert.ok(lines.length >= 30, stdout);
        const others = lines.filter((line) => !line.endsWith(" ok"));
        assert.deepEqual(others, hull ? ["unnamed-file Operation not supported"] : [], path);
      }
    });

    it("shares sockets and locks among the pod's containers, but not between VM and host", async () => {
      const mounts = [volume("bin", "/b"), volume("shared", "/shared")];
      const one = await pod().run(["/b/fs", "serve", "/shared/socket"], { mounts });
      await pod().run(["/b/fs", "lock", "/shared/lock"], { mounts });
      const other = await pod().run(IDLE, { mounts });
      const wait = "until test -S /shared/socket -a -s /shared/lock; do sleep 0.1; done; sleep 0.3";
      const { stdout } = await other.sh(`${wait}; /b/fs connect /shared/socket; /b/fs trylock /shared/lock`);
      assert.equal(stdout, "connect ok\nflock ok\nrecord-lock ok\n");
      assert.equal((await one.exited()).exitCode, 0);

      const locks = (await run(at("bin/fs"), ["trylock", at("shared/lock")])).stdout;
      assert.equal(locks, hull ? "flock wrong\nrecord-lock wrong\n" : "flock ok\nrecord-lock ok\n");
      const server = spawn(at("bin/fs"), ["serve", at("shared/host")]);
      await once(server.stdout, "data");
      const { stdout: connected } = await other.sh("/b/fs connect /shared/host");
      server.kill();
      assert.equal(connected, hull ? "connect Connection refused\n" : "connect ok\n");
    });

    // The kubelet requests recursive read-only volumes of runc only: with others containerd 2.1 would crash.
    it("is read-only including the mounts in it, which runc leaves writable", async () => {
      const container = await pod().run(IDLE, { mounts: [volume("tree", "/ro", { readonly: true })] });
      const { stdout } = await container.sh(
        "for path in /ro /ro/sub; do touch $path/x 2>/dev/null && echo $path; done; echo done",
      );
      assert.equal(stdout, hull ? "done\n" : "/ro/sub\ndone\n");
    });

    it("shows later mounts of the host on request; the host does not see mounts of a VM", async () => {
      const container = await pod().run(IDLE, {
        mounts: [
          volume("late", "/late", { propagation: HOST_TO_CONTAINER }),
          volume("late", "/both", { propagation: BIDIRECTIONAL }),
        ],
        linux: { securityContext: { privileged: true } },
      });
      await run("mount", ["-t", "tmpfs", "tmpfs", at("late/sub")]);
      await writeFile(at("late/sub/file"), "late\n");
      const { stdout } = await container.sh(
        "cat /late/sub/file; mount -t tmpfs none /both/new; touch /both/new/file",
      );
      assert.equal(stdout, "late\n");
      assert.deepEqual(await readdir(at("late/new")), hull ? [] : ["file"]);
    });
  },
  ["2"],
);

/** The descriptor limit of virtiofsd; the guest accesses more files than that. */
const DESCRIPTORS = 3000;
const DIRECTORIES = 6;
const FILES = 600;

forEveryRunner(
  "many-files",
  (runner) => {
    let root = "";
    before(async () => {
      root = await mkdtemp(join(tmpdir(), "hull-many-"));
      for (let directory = 0; directory < DIRECTORIES; directory++) {
        await mkdir(join(root, "many", `${directory}`), { recursive: true });
        for (let file = 0; file < FILES; file++)
          await writeFile(join(root, "many", `${directory}`, `${file}`), "x");
      }
    });
    after(() => rm(root, { recursive: true }));

    it("can have more files than virtiofsd can open", async () => {
      const config = join(root, "qemu.yaml");
      await writeConfig(config, {
        hypervisor: { virtio_fs_extra_args: [`--rlimit-nofile=${DESCRIPTORS}`] },
      });
      const script =
        "for directory in /many/*; do find $directory -type f -size +0 | wc -l; sleep 1; done; sleep 1; echo looked; read line";
      const many = runner().start(["sh", "-c", script], {
        holdStdin: true,
        flags: [
          ...["--runtime-config-path", config],
          ...["--mount", `type=bind,src=${join(root, "many")},dst=/many,options=rbind:ro`],
        ],
      });
      await many.printed("looked\n");
      const daemons = (await processes()).filter(
        ({ comm, argv }) =>
          comm === "virtiofsd" && argv.some((one) => one.includes(runner().scope.namespace)),
      );
      const open = await Promise.all(
        daemons.map(async ({ pid }) => (await readdir(`/proc/${pid}/fd`)).length),
      );
      many.closeStdin(Buffer.from("\n"));
      const { code, stdout, stderr } = await many.ended;
      assert.deepEqual([code, stderr], [0, ""]);
      assert.equal(stdout, `${`${FILES}\n`.repeat(DIRECTORIES)}looked\n`);
      const most = Math.max(...open);
      assert.ok(most < DESCRIPTORS * 0.6, `${open} descriptors`);
    });
  },
  ["hull"],
  ["2"],
);
