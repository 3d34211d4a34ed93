import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { sysError } from "../../../test/testkit/guest-agent/sys-error.ts";
import { loadModules, MODULE_LIST, readModuleList } from "./modules.ts";

describe("module list", () => {
  it("is split after the vsock transport", () => {
    const fake = new FakeSys();
    fake.tree.mkdirp("/lib/modules");
    fake.tree.write(
      MODULE_LIST,
      "/m/virtio.ko\n\n# later\n/m/vmw_vsock_virtio_transport_common.ko\n/m/vmw_vsock_virtio_transport.ko\n/m/fuse.ko\n",
    );
    assert.deepEqual(readModuleList(fake.sys), {
      transport: [
        "/m/virtio.ko",
        "/m/vmw_vsock_virtio_transport_common.ko",
        "/m/vmw_vsock_virtio_transport.ko",
      ],
      rest: ["/m/fuse.ko"],
    });
  });

  it("may be missing if everything is built in", () => {
    assert.deepEqual(readModuleList(new FakeSys().sys), { transport: [], rest: [] });
  });

  it("logs a module that fails and loads the others", () => {
    const lines: string[] = [];
    const loaded: string[] = [];
    const removed: string[] = [];
    const sys = {
      loadModule: (path: string): void => {
        if (path === "/bad") throw sysError("ENOEXEC", "finit_module /bad");
        loaded.push(path);
      },
      unlink: (path: string) => removed.push(path),
    };
    loadModules(sys, (level, text) => lines.push(`${level}: ${text}`), ["/a", "/bad", "/b"]);
    assert.deepEqual(
      [loaded, removed],
      [
        ["/a", "/b"],
        ["/a", "/b"],
      ],
    );
    assert.deepEqual(lines, ["warn: kernel module /bad: finit_module /bad: ENOEXEC"]);
  });

  it("does not contain vsock loopback, and neither does the lean kernel", () => {
    const read = (path: string) => readFileSync(join(import.meta.dirname, "../..", path), "utf8");
    assert.doesNotMatch(read("image/modules.list"), /loopback/);
    // `default y` in the kernel's net/vmw_vsock/Kconfig: leaving it out is not enough.
    assert.match(read("kernel/kernel.config"), /^CONFIG_VSOCKETS_LOOPBACK=n$/m);
  });
});
