/**
 * A full host, or one that lacks something that hull needs: one clear error in time, with a remedy, nothing
 * left, and a reusable id. containerd has its own mount namespace, in which this can be set up.
 */
import assert from "node:assert/strict";
import { chmod, copyFile, mkdir, rmdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { CtrResult } from "../testkit/ctr.ts";
import { assertNoLeaks, snapshot } from "../testkit/leaks.ts";
import { PidsGroup } from "../testkit/pids-group.ts";
import { PrivateHost } from "../testkit/private-host.ts";
import { newestLine, Runner } from "./fixture.ts";
import { DIST, writeConfig } from "./hull-config.ts";

/** Errors before a guest boots come at once; this allows for a busy machine. */
const LIMIT_MS = 30_000;
/** All failing cases use this id, so each shows that the previous one has left it free. */
const ID = "c";
const MOUNT_STATE = "mount -t tmpfs -o mode=711,size=256k,nr_inodes=100 hull-full /run/hull";
/** Fills /run/hull except for $1 pages. */
const FILL_PAGES = `cd /run/hull; head -c 1M /dev/zero >filler 2>/dev/null || true
  truncate -s $(($(stat -c %s filler) - $1 * 4096)) filler`;
/** Uses all inodes of /run/hull except for $1. */
const FILL_INODES = `mkdir /run/hull/filler; cd /run/hull/filler; i=0
  while touch $i 2>/dev/null; do i=$((i + 1)); done
  ls | head -n $1 | xargs -r rm`;

interface Case {
  readonly name: string;
  /** A shell script for containerd's mount namespace; `repair` undoes it. */
  readonly damage?: readonly [script: string, argument: string];
  readonly repair?: string;
  /** What the error must contain. */
  readonly errors: readonly RegExp[];
}

for (const line of newestLine()) {
  describe(`containerd ${line}: full host`, () => {
    let host: PrivateHost;
    let runner: Runner;
    let clean: Set<string>;
    let state: string;
    const at = (name: string) => join(host.containerd.directory, name);
    const stateDirectory = () =>
      host.sh(
        "cd /run/hull; find . '(' -path ./.config -o -path ./.code ')' -prune -o -name 'accel*' -o -print",
      );

    before(async () => {
      host = await PrivateHost.up(line);
      const ctr = await host.containerd.namespace(`e2e-full-host-${process.pid}`);
      runner = new Runner(host.containerd, ctr, "hull");
      await host.sh(MOUNT_STATE);
    });
    after(() => host.down());
    beforeEach(async () => {
      clean = await snapshot(runner.scope);
      state = await stateDirectory();
    });
    afterEach(async () => {
      await assertNoLeaks(clean, runner.scope);
      assert.equal(await stateDirectory(), state);
    });

    const run = (flags: readonly string[] = []) =>
      runner.sh("echo ran; exit 6", { id: ID, flags, timeoutMs: 90_000 });
    const assertRan = ({ code, stderr }: CtrResult) => assert.equal(code, 6, stderr);
    const assertRefused = async (errors: readonly RegExp[], flags: readonly string[] = []) => {
      const began = performance.now();
      const { code, stdout, stderr } = await run(flags);
      const ms = Math.round(performance.now() - began);
      assert.equal(stdout, "");
      assert.notEqual(code, 0, stderr);
      for (const expected of errors) assert.match(stderr, expected);
      assert.ok(ms < LIMIT_MS, `took ${ms} ms: ${stderr}`);
    };
    /** Breaks the host, runs a container, which must be refused, and repairs the host. */
    const refuses = ({ name, damage: [script, argument] = ["", ""], repair = "", errors }: Case) =>
      it(`${name}: one error with the remedy, and nothing is left`, async () => {
        try {
          await host.sh(script, argument);
          await assertRefused(errors);
        } finally {
          await host.sh(repair);
        }
      });
    /** Returns `--runtime-config-path` with some keys changed. */
    const config = async (changes: Parameters<typeof writeConfig>[1]) => {
      await writeConfig(at("hull.yaml"), changes);
      return ["--runtime-config-path", at("hull.yaml")];
    };
    /** Returns `--runtime` with the shim behind a shell script. */
    const behind = async (script: string) => {
      const shim = at("containerd-shim-limited-v2");
      await writeFile(shim, `#!/bin/sh\n${script} "${DIST}/bin/containerd-shim-hull-v2" "$@"\n`, {
        mode: 0o755,
      });
      return ["--runtime", shim];
    };

    for (const pages of ["0", "1", "2"]) {
      refuses({
        name: `/run has ${pages} free pages`,
        damage: [FILL_PAGES, pages],
        repair: "rm /run/hull/filler",
        errors: [/\/run\/hull\//, /no space left on device/i, /free space on that file system/],
      });
    }
    for (const inodes of ["0", "4", "8"]) {
      refuses({
        name: `/run has ${inodes} free inodes`,
        damage: [FILL_INODES, inodes],
        repair: "rm -r /run/hull/filler",
        errors: [/\/run\/hull\//, /no space left on device/i, /free space on that file system/],
      });
    }

    it("/run fills up while a container runs: exec, kill and delete work, and the id can be reused", async () => {
      const started = runner.start(["sh", "-c", "echo up; exec sleep 600"], { id: ID });
      await started.printed("up");
      await host.sh(FILL_PAGES, "0");
      const exec = await runner.ctr.expect(["task", "exec", "--exec-id", "e", ID, "echo", "executed"]);
      assert.equal(exec.stdout, "executed\n");
      await runner.ctr.expect(["task", "kill", "--signal", "KILL", ID]);
      const { code, stderr } = await started.ended;
      assert.equal(code, 137, stderr);
      await host.sh("rm /run/hull/filler");
      assertRan(await run());
    });

    it("/dev/shm has no space for a template: the pod is booted without one", async () => {
      await host.sh("mount -t tmpfs -o size=64m hull-full /dev/shm");
      try {
        assertRan(await run());
      } finally {
        await host.sh("umount /dev/shm");
      }
    });

    it("/dev/shm has no space for a guest's memory file: one error with the remedy", async () => {
      const hypervisor = { memory_backend: "file", file_mem_backend: "/dev/shm" };
      const flags = await config({ hypervisor });
      await host.sh("mount -t tmpfs -o size=64m hull-full /dev/shm");
      try {
        const error =
          /\/dev\/shm has 6\d MiB left for \d+ MiB of memory; enlarge that file system or set hypervisor/;
        await assertRefused([error], flags);
      } finally {
        await host.sh("umount /dev/shm");
      }
    });

    it("the file system of a log file is full: the output is lost, the container runs to completion", async () => {
      await mkdir(at("log"));
      await host.sh(`mount -t tmpfs -o size=4k hull-full "$1"; head -c 4k /dev/zero >"$1/filler"`, at("log"));
      try {
        assertRan(await run(["--log-uri", `file://${at("log")}/out`]));
      } finally {
        await host.sh(`umount "$1"`, at("log"));
      }
    });

    describe("a tool is missing", () => {
      // Its directories are replaced with directories of symlinks, from which single tools can be removed.
      before(() =>
        host.sh(
          `for bin in /usr/bin /usr/sbin; do
             mkdir -p "$1$bin/real" "$1$bin/links"; mount --bind $bin "$1$bin/real"; cd "$1$bin/real"
             find . -mindepth 1 -maxdepth 1 -printf "$1$bin/real/%P\\0" | xargs -0 ln -s -t "$1$bin/links"
           done
           mount --bind "$1/usr/sbin/links" /usr/sbin; mount --bind "$1/usr/bin/links" /usr/bin`,
          at("tools"),
        ),
      );
      after(() =>
        host.sh(
          // Lazily, since this shell runs from there.
          `umount="$1/usr/bin/real/umount --lazy"; $umount /usr/sbin /usr/bin
           $umount "$1/usr/sbin/real" "$1/usr/bin/real"`,
          at("tools"),
        ),
      );
      const from = { nsenter: "util-linux", setpriv: "util-linux", mount: "mount", ip: "iproute2" };
      for (const [tool, name] of Object.entries(from)) {
        refuses({
          name: tool,
          damage: ["for bin in bin sbin; do cd /usr/$bin; [ ! -e $1 ] || mv $1 .taken-$1; done", tool],
          repair: `for bin in bin sbin; do cd /usr/$bin; [ ! -e .taken-${tool} ] || mv .taken-${tool} ${tool}; done`,
          errors: [
            new RegExp(`${tool}: the program is not in /\\S*:/usr/sbin:\\S*; install the package ${name}`),
          ],
        });
      }
    });

    it("64 open files are enough for a shim; with 24 the error names the limit", async () => {
      assertRan(await run(await behind("exec prlimit --nofile=64:64 --")));
      await assertRefused(
        [/too many open files/i, /raise LimitNOFILE of containerd's unit/],
        await behind("exec prlimit --nofile=24:24 --"),
      );
    });

    it("no more processes can be started in the shim's cgroup, or the pod's", async () => {
      const group = await PidsGroup.make("full");
      try {
        const errors = [/no more processes can be started: raise TasksMax|limits of processes/];
        const inGroup = await behind(`echo $$ >${group.directory}/cgroup.procs; exec`);
        const flags = [...inGroup, ...(await config({ runtime: { sandbox_cgroup_only: false } }))];
        for (const most of [1, 5]) {
          await group.limit(most);
          await assertRefused(errors, flags);
        }
        await group.limit(1);
        await assertRefused(errors, ["--cgroup", `${group.path}/${ID}`]);
      } finally {
        await group.remove();
      }
      assertRan(await run());
    });

    describe("QEMU", () => {
      const cases = {
        "prints garbage and keeps running": [
          "echo garbage >&3; exec sleep 600",
          /QMP greeting: qemu: "garbage" is not QMP/,
        ],
        "prints endlessly": ["exec cat /dev/zero >&3", /qemu: a QMP line of more than 1048576 bytes/],
        "prints nothing": ["exec sleep 600", /no QMP greeting: boot the VM: timed out after 3000 ms/],
      } as const;
      for (const [name, [script, expected]] of Object.entries(cases)) {
        it(`${name}: one error that names the cause, and nothing is left`, async () => {
          await chmod(host.containerd.directory, 0o711);
          await writeFile(at("qemu"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
          const hypervisor = { path: at("qemu"), accel: "tcg", template: { enable: false } };
          await assertRefused([expected], await config({ hypervisor, agent: { boot_timeout: "3s" } }));
        });
      }
    });

    for (const [what, file] of [
      ["kernel", "vmlinux"],
      ["initrd", "initrd.img"],
    ] as const) {
      it(`a truncated ${what}, and one that only another user can read, is refused`, async () => {
        const image = at(file);
        await copyFile(join(DIST, "guest", file), image);
        const hypervisor = { [what]: image, accel: "tcg", template: { enable: false } };
        const flags = await config({ hypervisor, agent: { boot_timeout: "20s" } });
        await chmod(image, 0o600);
        await assertRefused(
          [new RegExp(`${file}: an unprivileged user may not read it .*chmod o\\+r`)],
          flags,
        );
        await chmod(image, 0o644);
        await truncate(image, 64 * 1024);
        await assertRefused([/boot the VM: /, /qemu exited with status 1|guest|panic/], flags);
      });
    }

    it("after the repair a container with the same id runs", async () => {
      await rmdir(at("log"));
      assertRan(await run());
    });
  });
}
