import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { POD_PID_NAMESPACE } from "../../../src/core/guest-paths.ts";
import { prepareProcess, prepareSpec } from "./spec.ts";

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const context = {
  cgroupsPath: "/hull/c",
  terminal: false,
  podPidNamespace: () => "/proc/9/ns/pid",
  disks: [],
  nodes: [],
};
const good = {
  root: { path: "/r", readonly: true },
  process: { args: ["a"], user: { uid: 1 } },
  linux: { cgroupsPath: "/evil" },
};

describe("spec", () => {
  it("adds device nodes and allows them, except where the spec has one at the same path", () => {
    const own = { path: "/dev/nvme0", type: "c", major: 1, minor: 3 };
    const spec = { ...good, linux: { devices: [own], resources: { devices: [{ allow: false }] } } };
    const nodes = [
      { path: "/dev/nvme0", type: "c", major: 241, minor: 0 },
      { path: "/dev/nvme0n1", type: "b", major: 259, minor: 2 },
    ] as const;
    const { linux } = prepareSpec(bytes(spec), { ...context, nodes });
    assert.deepEqual(linux.devices, [own, nodes[1]]);
    assert.deepEqual((linux.resources as { devices: unknown }).devices, [
      { allow: false },
      { allow: true, type: "b", major: 259, minor: 2, access: "rwm" },
    ]);
  });

  it("sets what only the guest knows and keeps the rest", () => {
    const host = { ...good, ociVersion: "1.2.1", hostname: "h" };
    assert.deepEqual(prepareSpec(bytes(host), { ...context, terminal: true }), {
      ociVersion: "1.0.2", // what the guest's crun accepts
      root: { path: "/r", readonly: true },
      process: { args: ["a"], user: { uid: 1 }, terminal: true },
      linux: { cgroupsPath: "/hull/c" },
      hostname: "h",
    });
  });

  it("joins the pod's PID namespace only if the spec names it", () => {
    const shared = {
      ...good,
      linux: { namespaces: [{ type: "mount" }, { type: "pid", path: POD_PID_NAMESPACE }] },
    };
    assert.deepEqual(prepareSpec(bytes(shared), context).linux.namespaces, [
      { type: "mount" },
      { type: "pid", path: "/proc/9/ns/pid" },
    ]);
    const own = { ...good, linux: { namespaces: [{ type: "pid" }] } };
    assert.deepEqual(prepareSpec(bytes(own), context).linux.namespaces, [{ type: "pid" }]);
  });

  it("uses the root disk as the root file system", () => {
    const { root } = prepareSpec(bytes(good), { ...context, rootPath: "/run/hull/roots/c" });
    assert.deepEqual(root, { path: "/run/hull/roots/c", readonly: true });
  });

  it("gives a disk its numbers in the guest and allows it", () => {
    const spec = {
      ...good,
      linux: {
        devices: [{ path: "/dev/a", type: "b", major: 8, minor: 1, uid: 7 }, { path: "/dev/b" }],
        resources: { devices: [{ allow: false, access: "rwm" }] },
      },
    };
    const disk = { path: "/dev/a", access: "rw", major: 254, minor: 16 };
    const { linux } = prepareSpec(bytes(spec), { ...context, disks: [disk] });
    assert.deepEqual(linux.devices, [
      { path: "/dev/a", type: "b", major: 254, minor: 16, uid: 7 },
      { path: "/dev/b" },
    ]);
    assert.deepEqual(linux.resources, {
      devices: [
        { allow: false, access: "rwm" },
        { allow: true, type: "b", major: 254, minor: 16, access: "rw" },
      ],
    });
  });

  const refused: [unknown, RegExp][] = [
    [[], /spec: must be a JSON object/],
    [{ ...good, root: undefined }, /spec: root/],
    [{ ...good, root: { path: "../r" } }, /root.path/],
    [{ ...good, process: {} }, /process.args/],
    [{ ...good, process: { args: [] } }, /process.args/],
    [{ ...good, process: { args: [1] } }, /process.args/],
    [{ ...good, linux: 1 }, /linux/],
  ];
  for (const [spec, message] of refused) {
    it(`refuses ${JSON.stringify(spec)}`, () => {
      assert.throws(() => prepareSpec(bytes(spec), context), message);
    });
  }

  it("refuses an exec that is not JSON", () => {
    assert.throws(() => prepareProcess(new TextEncoder().encode("x"), false), /process: not JSON/);
  });
});
