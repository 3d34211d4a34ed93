import assert from "node:assert/strict";
import { test } from "node:test";
import { HullError } from "../core/errors.ts";
import { guestDevices } from "./guest-devices.ts";
import { parseSpec } from "./spec.ts";

const none = { allow: false, access: "rwm" };
const rule = (minor: number, access: string) => ({ allow: true, type: "b", major: 8, minor, access });

test("block devices are to be plugged in; no rule for the host's numbers is left", () => {
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

test("another device of the host is refused", () => {
  const devices = [{ path: "/dev/nvidia0", type: "c", major: 195, minor: 0 }];
  assert.throws(
    () => guestDevices({ linux: { devices } }),
    (error) =>
      error instanceof HullError && error.code === "InvalidArgument" && /nvidia0/.test(error.message),
  );
});

test("tens of thousands of devices and rules take time that goes with their number", () => {
  const numbers = Array.from({ length: 80_000 }, (_, minor) => minor);
  const devices = numbers.map((minor) => ({ path: `/dev/d${minor}`, type: "b", major: 8, minor }));
  const rules = numbers.map((minor) => rule(minor, "r")).reverse();
  const start = process.cpuUsage(); // of the processor's time: a busy machine is no failure
  const { disks } = guestDevices({ linux: { devices, resources: { devices: rules } } });
  const { user, system } = process.cpuUsage(start);
  assert.ok(disks.every(({ access }) => access === "r"));
  assert.ok(user + system < 2_000_000, `it took ${(user + system) / 1000} ms`);
});

test("a rule whose numbers are none is refused", () => {
  const numberless = { allow: true, type: "b", major: { toString: 1 }, minor: 0 };
  const spec = { process: { args: ["x"] }, linux: { resources: { devices: [numberless] } } };
  assert.throws(() => parseSpec(JSON.stringify(spec), "config.json"), { code: "InvalidArgument" });
});
