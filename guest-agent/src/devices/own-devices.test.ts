import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sys } from "../sys.ts";
import { ModuleLibrary } from "./module-library.ts";
import { ownDevices } from "./own-devices.ts";

const DIRECTORY = "/run/hull/shared/x";
const LIST = {
  release: "6.1.0-50",
  modules: [
    { files: ["tun.ko"], aliases: ["char-major-10-200", "devname:net/tun"] },
    { files: ["mlxfw.ko", "mlx5_core.ko"], aliases: ["pci:v000015B3d00001018sv*sd*bc*sc*i*"] },
  ],
};

/** A guest in which loading tun.ko creates /dev/net/tun (10:200). */
function guest({ release = "6.1.0-50", list = JSON.stringify(LIST), fails = false } = {}) {
  const loaded: string[] = [];
  const logged: string[] = [];
  const sys = {
    readFile: (path: string) => {
      assert.equal(path, `${DIRECTORY}/modules.json`);
      return new TextEncoder().encode(list);
    },
    uname: () => ({ release }),
    loadModule: (path: string) => {
      if (fails) throw new Error("finit_module: Invalid argument");
      loaded.push(path);
    },
    stat: (path: string) => {
      if (path === "/dev/vsock") return { mode: 0o20666, rdev: (10 << 8) | 121 };
      if (path === "/dev/net/tun" && loaded.length > 0) return { mode: 0o20666, rdev: (10 << 8) | 200 };
      throw Object.assign(new Error(path), { code: "ENOENT" });
    },
  } as unknown as Sys;
  const modules = new ModuleLibrary(sys, DIRECTORY, (_, message) => void logged.push(message));
  return { sys, modules, loaded, logged };
}

test("a device of the guest's kernel gets the guest's numbers, after its module has been loaded if it has one", () => {
  const { sys, modules, loaded } = guest();
  const wanted = [
    { path: "/dev/vsock", name: "vsock" },
    { path: "/dev/tunnel", name: "net/tun" },
  ];
  assert.deepEqual(ownDevices(sys, modules, wanted), [
    { path: "/dev/vsock", type: "c", major: 10, minor: 121 },
    { path: "/dev/tunnel", type: "c", major: 10, minor: 200 },
  ]);
  assert.deepEqual(loaded, [`${DIRECTORY}/tun.ko`]);
});

test("a device that the guest's kernel lacks is refused with its name", () => {
  const { sys, modules } = guest();
  assert.throws(() => ownDevices(sys, modules, [{ path: "/dev/kvm", name: "kvm" }]), {
    code: "FailedPrecondition",
    message: /device \/dev\/kvm: the guest's kernel has no \/dev\/kvm/,
  });
  for (const name of ["../etc", "/dev/kvm", "net/../kvm", ""])
    assert.throws(() => ownDevices(sys, modules, [{ path: "/dev/x", name }]), { code: "InvalidArgument" });
});

test("modules are loaded in the order of the list, for the aliases that match", () => {
  const { modules, loaded } = guest();
  modules.load("pci:v000015B3d00001018sv000015B3sd00000051bc02sc00i00");
  modules.load("pci:v000015B3d00001019sv000015B3sd00000051bc02sc00i00");
  assert.deepEqual(loaded, [`${DIRECTORY}/mlxfw.ko`, `${DIRECTORY}/mlx5_core.ko`]);
});

for (const [name, options, message] of [
  ["of another kernel", { release: "6.12.1" }, /for Linux 6\.1\.0-50, not 6\.12\.1/],
  ["with a damaged list", { list: "{" }, /JSON/],
  ["that do not load", { fails: true }, /Invalid argument/],
] as const) {
  test(`modules ${name} are reported in the log, and the device is missed later`, () => {
    const { modules, loaded, logged } = guest(options);
    modules.load("devname:net/tun");
    assert.deepEqual(loaded, []);
    assert.match(logged.join("\n"), message);
  });
}

test("without a directory nothing is loaded, and nothing is logged", () => {
  const { sys, logged } = guest();
  new ModuleLibrary(sys, "", (_, message) => void logged.push(message)).load("devname:net/tun");
  assert.deepEqual(logged, []);
});
