/** The kernel's vsock, tested in a pod: its guest kernel has vsock_loopback, which few hosts have. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, readdir, readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { it } from "node:test";
import { build } from "esbuild";
import { AGENT_PORT } from "../../src/core/guest-ports.ts";
import { Dial } from "../../src/vsock/hybrid.ts";
import { ROOT } from "../testkit/containerd.ts";
import { debianPackage } from "../testkit/debian-package.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { DIST, writeConfig } from "./hull-config.ts";

/** The modules of the guest kernel's package: /lib/modules/RELEASE. */
async function guestModules(): Promise<string> {
  const { kernel } = JSON.parse(await readFile(join(DIST, "guest/manifest.json"), "utf8"));
  const directory = join(await debianPackage(`linux-image-${kernel.release}`), "lib/modules");
  return join(directory, (await readdir(directory))[0] ?? "");
}

forEveryRunner(
  "vsock",
  (runner) => {
    it("passes the tests of the addon, in Node in the guest", { timeout: 180_000 }, async () => {
      const { directory } = runner().containerd;
      const shared = join(directory, "vsock");
      await mkdir(shared);
      await build({
        entryPoints: [join(ROOT, "test/guest/vsock.ts")],
        outfile: join(shared, "test.cjs"),
        bundle: true,
        platform: "node",
        target: "node20",
        logLevel: "warning",
      });
      await copyFile(join(DIST, "lib/vsock.node"), join(shared, "vsock.node"));
      await copyFile(
        join(await guestModules(), "kernel/net/vmw_vsock/vsock_loopback.ko"),
        join(shared, "vsock_loopback.ko"),
      );
      const config = join(shared, "hull.yaml");
      await writeConfig(config, { hypervisor: { default_memory: 512 } });
      const node = await realpath(process.execPath);
      const mounts = [
        ["/usr", "/usr"],
        ["/usr/lib", "/lib"],
        ["/usr/lib64", "/lib64"],
        [dirname(node), "/node"],
        [shared, "/vsock"],
      ].flatMap(([from, to]) => ["--mount", `type=bind,src=${from},dst=${to},options=rbind:ro`]);
      const flags = ["--runtime-config-path", config, "--cap-add", "CAP_SYS_MODULE", ...mounts];
      const result = await runner().sh(
        "busybox=/bin/busybox; $busybox insmod /vsock/vsock_loopback.ko && HULL_VSOCK_ADDON=/vsock/vsock.node exec /node/node --test-timeout=30000 /vsock/test.cjs",
        { flags, timeoutMs: 150_000 },
      );
      assert.equal(result.code, 0, `${result.stdout}\n${result.stderr}`);
      assert.match(result.stdout, /^# pass 11$/m);
    });
  },
  ["hull"],
  newestLine(),
);

forEveryRunner(
  "streams",
  (runner) => {
    it("a pod does not run out of streams: 1100 connections, then an exec", async () => {
      const id = runner().id();
      const running = runner().start(["sh", "-c", "echo ready; read line"], { id, holdStdin: true });
      await running.printed("ready\n");
      const socket = `/run/hull/${runner().ctr.namespace}/${id}/vm/vs`;
      // The guest closes each, since it sends no token, so that not too many are pending there.
      let left = 1_100;
      const dialling = async () => {
        while (left-- > 0) {
          const stream = await new Dial(socket, AGENT_PORT.stdio).answered;
          const closed = once(stream, "end");
          stream.resume().write("nothing\n");
          await closed;
          stream.destroy();
        }
      };
      await Promise.all(Array.from({ length: 8 }, dialling));
      const exec = await runner().ctr.expect(["tasks", "exec", "--exec-id", "e", id, "echo", "still here"]);
      assert.equal(exec.stdout, "still here\n");
      running.closeStdin();
      await running.ended;
    });
  },
  ["hull"],
  newestLine(),
);
