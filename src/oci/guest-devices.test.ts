import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../core/errors.ts";
import { guestDevices } from "./guest-devices.ts";
import { parseSpec } from "./spec.ts";

const none = { allow: false, access: "rwm" };
const rule = (minor: number, access: string) => ({ allow: true, type: "b", major: 8, minor, access });

test("block devices become disks to hot-plug, without their rules for the host's numbers", () => {
  const devices = [
    { path: "/dev/data", type: "b", major: 8, minor: 16 },
    { path: "/dev/backup", type: "b", major: 8, minor: 32 },
    { path: "/dev/null", type: "c", major: 1, minor: 3 },
  ];
  const resources = { devices: [none, rule(16, "rwm"), rule(32, "r")] };
  const { spec, disks } = guestDevices({ linux: { devices, resources } });
  assert.deepEqual(disks, [
    { path: "/dev/data", major: 8, minor: 16, access: "rw" },
    { path: "/dev/backup", major: 8, minor: 32, access: "r" },
  ]);
  assert.deepEqual(spec.linux?.resources?.devices, [none]);
  assert.equal(spec.linux?.devices?.length, 3);
});

test("a character device that only the host has is refused", () => {
  const devices = [{ path: "/dev/nvidia0", type: "c", major: 195, minor: 0 }];
  assert.throws(
    () => guestDevices({ linux: { devices } }),
    (error) =>
      error instanceof HullError && error.code === "InvalidArgument" && /nvidia0/.test(error.message),
  );
});

test("VFIO groups are to be assigned; neither their nodes and rules nor the VFIO container's reach the guest", () => {
  const group = { path: "/dev/vfio/12", type: "c", major: 243, minor: 0 };
  const container = { path: "/dev/vfio/vfio", type: "c", major: 10, minor: 196 };
  const tty = { path: "/dev/tty", type: "c", major: 5, minor: 0 };
  const allow = ({ type, major, minor }: typeof group) => ({
    allow: true,
    type,
    major,
    minor,
    access: "rwm",
  });
  const resources = { devices: [none, allow(group), allow(container), allow(tty)] };
  const again = { ...group, path: "/dev/vfio/13" };
  const { spec, groups } = guestDevices({ linux: { devices: [container, group, tty, again], resources } });
  assert.deepEqual(groups, [{ path: "/dev/vfio/12", major: 243, minor: 0 }]);
  assert.deepEqual(spec.linux?.devices, [tty]);
  assert.deepEqual(spec.linux?.resources?.devices, [none, allow(tty)]);
});

test("devices that a kernel has without hardware are the guest's own, with its numbers", () => {
  const devices = [
    { path: "/dev/tunnel", type: "c", major: 10, minor: 200 },
    { path: "/dev/kvm", type: "c", major: 10, minor: 232 },
    { path: "/dev/vsock", type: "c", major: 10, minor: 121 },
    { path: "/dev/fuse", type: "c", major: 10, minor: 229 },
  ];
  const { spec, ownDevices } = guestDevices({ linux: { devices } });
  assert.deepEqual(ownDevices, [
    { path: "/dev/tunnel", name: "net/tun" },
    { path: "/dev/kvm", name: "kvm" },
    { path: "/dev/vsock", name: "vsock" },
  ]);
  assert.deepEqual(spec.linux?.devices, devices.slice(3));
});

for (const path of ["/dev/vfio/devices/vfio0", "/dev/vfio/noiommu-0", "/dev/iommu"]) {
  test(`${path} is refused in favour of the group`, () => {
    const devices = [{ path, type: "c", major: 511, minor: 0 }];
    assert.throws(() => guestDevices({ linux: { devices } }), {
      code: "InvalidArgument",
      message: /by their IOMMU group only; pass \/dev\/vfio\/<group>/,
    });
  });
}

test("80,000 devices and rules take linear time", () => {
  const numbers = Array.from({ length: 80_000 }, (_, minor) => minor);
  const devices = numbers.map((minor) => ({ path: `/dev/d${minor}`, type: "b", major: 8, minor }));
  const rules = numbers.map((minor) => rule(minor, "r")).reverse();
  const start = process.cpuUsage(); // CPU time does not depend on how busy the machine is
  const { disks } = guestDevices({ linux: { devices, resources: { devices: rules } } });
  const { user, system } = process.cpuUsage(start);
  assert.ok(disks.every(({ access }) => access === "r"));
  assert.ok(user + system < 2_000_000, `it took ${(user + system) / 1000} ms`);
});

test("a rule whose device numbers are not numbers is refused", () => {
  const numberless = { allow: true, type: "b", major: { toString: 1 }, minor: 0 };
  const spec = { process: { args: ["x"] }, linux: { resources: { devices: [numberless] } } };
  assert.throws(() => parseSpec(JSON.stringify(spec), "config.json"), { code: "InvalidArgument" });
});
