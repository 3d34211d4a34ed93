/** Volumes as the kubelet mounts them. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rename, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { promisify } from "node:util";
import { type ContainerSettings, IDLE } from "../testkit/cri.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

const run = promisify(execFile);

forEveryHandler(
  "storage",
  (target, handler) => {
    before(async () => {
      // The kubelet mounts a pod's volumes before it creates the pod.
      await mkdir(join(target().directory, "memory"));
      await run("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", join(target().directory, "memory")]);
    });
    after(() => run("umount", [join(target().directory, "memory")]));
    const pod = sharedPod(target);
    const at = (name: string) => join(target().directory, name);
    const volumes = (...mounts: NonNullable<ContainerSettings>["mounts"] & object[]): ContainerSettings => ({
      mounts,
    });

    it("mounts directories and single files, read-only on request; writes reach the host", async () => {
      await mkdir(at("dir/sub"), { recursive: true });
      await writeFile(at("dir/sub/file"), "from the host\n");
      await writeFile(at("single"), "single\n");
      const container = await pod().run(
        IDLE,
        volumes(
          { hostPath: at("dir"), containerPath: "/rw" },
          { hostPath: at("dir"), containerPath: "/ro", readonly: true },
          { hostPath: at("dir/sub"), containerPath: "/subpath" },
          { hostPath: at("single"), containerPath: "/etc/single.conf", readonly: true },
        ),
      );
      const { stdout } = await container.sh(
        "cat /rw/sub/file /subpath/file /etc/single.conf; echo new >/rw/new; echo x >/ro/new || echo refused; echo x >/etc/single.conf || echo refused",
      );
      assert.equal(stdout, "from the host\nfrom the host\nsingle\nrefused\nrefused\n");
      assert.equal(await readFile(at("dir/new"), "utf8"), "new\n");
    });

    it("shows updates of a Secret or ConfigMap, which rename a symlink", async () => {
      const version = async (name: string, text: string) => {
        await mkdir(at(`config/${name}`), { recursive: true });
        await writeFile(at(`config/${name}/key`), text);
        await symlink(name, at("config/..data_tmp"));
        await rename(at("config/..data_tmp"), at("config/..data"));
      };
      await version("..1", "one\n");
      await symlink("..data/key", at("config/key"));
      const container = await pod().run(
        IDLE,
        volumes({ hostPath: at("config"), containerPath: "/config", readonly: true }),
      );
      assert.equal((await container.sh("cat /config/key")).stdout, "one\n");
      await version("..2", "two\n");
      const seen = await container.sh(
        "for i in $(seq 40); do grep -q two /config/key && break; sleep 0.1; done; cat /config/key",
      );
      assert.equal(seen.stdout, "two\n");
    });

    it("shows what the host writes to a file that the guest has cached, and adds to a directory", async () => {
      await mkdir(at("shown"));
      await writeFile(at("shown/file"), "one\n");
      const container = await pod().run(
        IDLE,
        volumes({ hostPath: at("shown"), containerPath: "/shown", readonly: true }),
      );
      assert.equal((await container.sh("cat /shown/file; ls /shown")).stdout, "one\nfile\n");
      await writeFile(at("shown/file"), "two\n");
      await writeFile(at("shown/more"), "");
      const seen = await container.sh(
        "for i in $(seq 40); do grep -q two /shown/file && [ $(ls /shown | wc -l) = 2 ] && break; sleep 0.1; done; cat /shown/file; ls /shown",
      );
      assert.equal(seen.stdout, "two\nfile\nmore\n");
    });

    it("shares an emptyDir among containers; one in memory has its sizeLimit", async () => {
      const mount = volumes({ hostPath: at("memory"), containerPath: "/cache" });
      const first = await pod().run(IDLE, mount);
      const second = await pod().run(IDLE, mount);
      const filled = await first.sh(
        "stat -f -c '%b %S' /cache; echo mine >/cache/a; dd if=/dev/zero of=/cache/big bs=1M count=8 2>&1 | grep -o 'No space left on device'",
      );
      assert.equal(filled.stdout, "1024 4096\nNo space left on device\n");
      assert.equal((await second.sh("cat /cache/a; rm /cache/big; echo b >/cache/b")).stdout, "mine\n");
      assert.equal((await first.sh("cat /cache/b")).stdout, "b\n");
    });

    it("keeps owners, modes, symlinks and times of files", async () => {
      await mkdir(at("files"));
      const container = await pod().run(IDLE, volumes({ hostPath: at("files"), containerPath: "/files" }));
      const { stdout, stderr } = await container.sh(
        `cd /files && echo a >a && chown 1234:4321 a && chmod 4750 a && ln a b && ln -s a c && mkfifo p &&
         touch -d '2001-02-03 04:05:06' a && mv b d && stat -c '%u:%g %a %h %Y' d && readlink c && ls | tr '\\n' ' '`,
      );
      assert.equal(stdout, "1234:4321 4750 2 981173106\na\na c d p ", stderr);
      const { uid, gid, mode, nlink } = await stat(at("files/a"));
      assert.deepEqual([uid, gid, mode & 0o7777, nlink], [1234, 4321, 0o4750, 2]);
    });

    it("handles hundreds of small files and a large one", async () => {
      await mkdir(at("many"));
      const container = await pod().run(IDLE, volumes({ hostPath: at("many"), containerPath: "/many" }));
      const { stdout, stderr } = await container.sh(
        "cd /many; for i in $(seq 300); do echo $i >f$i; done; ls | wc -l; cat f* | sort -n | md5sum; dd if=/dev/zero of=large bs=1M count=16 2>/dev/null; stat -c %s large; rm -r f* large",
      );
      const expected = (await run("sh", ["-c", "seq 300 | md5sum"])).stdout;
      assert.equal(stdout, `300\n${expected}16777216\n`, stderr);
    });

    it("passes a raw block volume as a disk of the VM", async (test) => {
      await writeFile(at("disk"), "");
      await truncate(at("disk"), 8 << 20);
      const device = await run("losetup", ["--find", "--show", at("disk")]).then(
        ({ stdout }) => stdout.trim(),
        () => undefined,
      );
      if (device === undefined) return test.skip("this machine has no loop devices");
      try {
        const container = await pod().run(IDLE, {
          devices: [{ hostPath: device, containerPath: "/dev/data", permissions: "rw" }],
        });
        const { stdout, stderr } = await container.sh(
          "test -b /dev/data && dd if=/dev/data bs=1M 2>/dev/null | wc -c && printf hello | dd of=/dev/data bs=512 seek=3 conv=fsync,notrunc 2>/dev/null; echo $?",
        );
        assert.equal(stdout, `${8 << 20}\n0\n`, stderr);
        await container.remove();
        const written = await readFile(device);
        assert.equal(written.subarray(1536, 1541).toString(), "hello");
      } finally {
        await run("losetup", ["--detach", device]);
      }
    });

    it("refuses other devices of the host, with an explanation", {
      skip: handler === "runc" && "runc has no VM",
    }, async () => {
      const settings = {
        devices: [{ hostPath: "/dev/kmsg", containerPath: "/dev/kmsg", permissions: "r" }],
      };
      await pod().run(["true"], settings); // a device of the kernel itself: the guest's is used
      const tty = { devices: [{ hostPath: "/dev/ttyS0", containerPath: "/dev/ttyS0", permissions: "rw" }] };
      await assert.rejects(async () => pod().run(["true"], tty), /cannot be used in a VM/);
    });
  },
  ["2"],
);
