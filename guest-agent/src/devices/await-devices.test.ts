import assert from "node:assert/strict";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Sys } from "../sys.ts";
import { awaitPciDevices } from "./await-devices.ts";

const BUS = "sys/devices/pci0000:00";
const NIC = `${BUS}/0000:00:05.0/0000:03:00.0`;

/** A guest whose /sys is a directory of files and symlinks, as the kernel's is. */
function guest(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), "hull-guest-sysfs-"));
  t.after(() => rmSync(root, { recursive: true }));
  const at = (path: string) => join(root, path);
  let uevent: () => void = () => undefined;
  const open = new Set<unknown>();
  const lost: boolean[] = [];
  const sys = {
    readdir: (path: string) => readdirSync(at(path)),
    readFile: (path: string) => new Uint8Array(readFileSync(at(path))),
    readlink: (path: string) => readlinkSync(at(path)),
    lstat: (path: string) => lstatSync(at(path)),
    netlinkUevents: () => open.add("uevents").size,
    read: () => {
      if (lost.pop()) throw Object.assign(new Error("read"), { code: "ENOBUFS" });
      return -1;
    },
    watch: (_fd: number, _events: object, callback: () => void) => {
      open.add("watch");
      uevent = callback;
    },
    unwatch: () => open.delete("watch"),
    close: () => open.delete("uevents"),
    setTimer: (ms: number, callback: () => void) => {
      const id = setTimeout(() => open.delete(id) && callback(), ms);
      open.add(id);
      return id;
    },
    clearTimer: (id: unknown) => {
      open.delete(id);
      clearTimeout(id as NodeJS.Timeout);
    },
  } as unknown as Sys;
  const write = (path: string, text: string) => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), text);
  };
  const link = (path: string, target: string) => {
    mkdirSync(dirname(at(path)), { recursive: true });
    symlinkSync(target, at(path));
  };
  const pci = (directory: string, classCode: string) => {
    for (const [file, text] of [
      ["vendor", "0x8086"],
      ["device", "0x10d3"],
      ["class", `0x${classCode}`],
      ["modalias", `pci:v00008086d000010D3bc${classCode.slice(0, 2)}`],
    ] as const)
      write(`${directory}/${file}`, `${text}\n`);
    write(`${directory}/uevent`, "DRIVER=x\nPCI_SLOT_NAME=0000:03:00.0\n");
  };
  const node = (directory: string, subsystem: string, name: string, numbers: readonly [number, number]) => {
    write(`${directory}/uevent`, `MAJOR=${numbers[0]}\nMINOR=${numbers[1]}\nDEVNAME=${name}\n`);
    link(`${directory}/subsystem`, `../../../class/${subsystem}`);
  };
  const aliases: string[] = [];
  const modules = { load: (alias: string) => void aliases.push(alias) };
  /** Reports a message; `lose` = others before it did not fit into the socket. */
  const report = ({ lose = false } = {}) => {
    if (lose) lost.push(true);
    uevent();
  };
  return { sys, open, pci, node, link, write, modules, aliases, uevent: report };
}

test("a disk is ready when its driver has created a block device; all nodes below it are the container's", async (t) => {
  const { sys, open, pci, node, link, uevent, modules } = guest(t);
  const waiting = awaitPciDevices(sys, ["05.0/00.0"], 30_000, modules);
  pci(`${BUS}/0000:00:05.0`, "060400");
  node(`${BUS}/0000:00:06.0/0000:03:00.0/other`, "misc", "other", [10, 1]); // behind another port
  pci(NIC, "010802");
  uevent();
  link(`${NIC}/driver`, "../../../../bus/pci/drivers/nvme");
  node(`${NIC}/nvme/nvme0`, "nvme", "nvme0", [241, 0]);
  uevent();
  await new Promise((resolve) => setTimeout(resolve, 150));
  node(`${NIC}/nvme/nvme0/nvme0n1`, "block", "nvme0n1", [259, 0]);
  node(`${NIC}/nvme/nvme0/nvme0n1/nvme0n1p1`, "block", "nvme0n1p1", [259, 1]);
  node("sys/elsewhere", "misc", "elsewhere", [10, 2]);
  link(`${NIC}/nvme/nvme0/back`, "../../../../../../elsewhere");
  uevent();
  assert.deepEqual(await waiting, [
    { path: "/dev/nvme0", type: "c", major: 241, minor: 0 },
    { path: "/dev/nvme0n1", type: "b", major: 259, minor: 0 },
    { path: "/dev/nvme0n1p1", type: "b", major: 259, minor: 1 },
  ]);
  assert.equal(open.size, 0);
});

test("the driver's module is loaded once for a device that has no driver", async (t) => {
  const { sys, pci, link, node, modules, aliases, uevent } = guest(t);
  pci(NIC, "030200");
  const waiting = awaitPciDevices(sys, ["05.0/00.0"], 30_000, modules);
  uevent();
  link(`${NIC}/driver`, "../gpu");
  node(`${NIC}/drm/card0`, "drm", "dri/card0", [226, 0]);
  uevent();
  assert.equal((await waiting)[0]?.path, "/dev/dri/card0");
  assert.deepEqual(aliases, ["pci:v00008086d000010D3bc03"]);
});

test("a driver that creates more devices than the socket can report is waited for all the same", async (t) => {
  const { sys, pci, link, node, modules, uevent } = guest(t);
  pci(NIC, "030200");
  const waiting = awaitPciDevices(sys, ["05.0/00.0"], 30_000, modules);
  link(`${NIC}/driver`, "../gpu");
  node(`${NIC}/drm/card0`, "drm", "dri/card0", [226, 0]);
  uevent({ lose: true });
  assert.equal((await waiting)[0]?.path, "/dev/dri/card0");
});

test("a network adapter is ready when it has an interface", async (t) => {
  const { sys, pci, link, write, modules } = guest(t);
  pci(NIC, "020000");
  link(`${NIC}/driver`, "../virtio-pci");
  write(`${NIC}/virtio0/net/eth1/uevent`, "INTERFACE=eth1\nIFINDEX=3\n");
  link(`${NIC}/virtio0/net/eth1/subsystem`, "../../../class/net");
  assert.deepEqual(await awaitPciDevices(sys, ["05.0/00.0"], 30_000, modules), []);
});

test("a device on the root bus is found by its own slot", async (t) => {
  const { sys, pci, link, node, modules } = guest(t);
  pci(`${BUS}/0000:00:04.0`, "030200");
  link(`${BUS}/0000:00:04.0/driver`, "../gpu");
  node(`${BUS}/0000:00:04.0/drm/renderD128`, "drm", "dri/renderD128", [226, 128]);
  const nodes = await awaitPciDevices(sys, ["04.0"], 30_000, modules);
  assert.deepEqual(nodes, [{ path: "/dev/dri/renderD128", type: "c", major: 226, minor: 128 }]);
});

for (const [name, driver, code, message] of [
  ["that never appears", undefined, "DeadlineExceeded", /05\.0\/00\.0: has not appeared within 50 ms/],
  [
    "without a driver",
    "",
    "FailedPrecondition",
    /\(8086:10d3, class 020000\): the guest's kernel has no driver/,
  ],
  [
    "whose driver creates nothing",
    "e1000e",
    "FailedPrecondition",
    /driver e1000e .*created no interface within/,
  ],
] as const) {
  test(`a device ${name} is reported`, async (t) => {
    const { sys, open, pci, link, modules } = guest(t);
    if (driver !== undefined) pci(NIC, "020000");
    if (driver) link(`${NIC}/driver`, `../${driver}`);
    await assert.rejects(awaitPciDevices(sys, ["05.0/00.0"], 50, modules), { code, message });
    assert.equal(open.size, 0);
  });
}

test("what is not a path of slots is refused", async (t) => {
  const { sys, modules } = guest(t);
  for (const path of ["", "../05.0", "5.0", "05.8", "05.0/", "05.0/00.0/00.0/00.0/00.0"])
    await assert.rejects(awaitPciDevices(sys, [path], 50, modules), { code: "InvalidArgument" });
});
