import assert from "node:assert/strict";
import { test } from "node:test";
import { BAR, FakeSysfs } from "../../test/testkit/fake-sysfs.ts";
import { iommuGroup } from "./iommu-group.ts";
import { largestAssignable } from "./pci-device.ts";

const node = { path: "/dev/vfio/12", major: 243, minor: 0 };
const nic = { address: "0000:01:00.0", group: 12, driver: "vfio-pci" };

test("a group is found by its node's numbers; bridges, and devices without a driver, are not assigned", async (t) => {
  const sysfs = new FakeSysfs(t)
    .groupNode(0, "12")
    .pci({ address: "0000:00:1c.0", group: 12, classCode: "060400", driver: "pcieport" })
    .pci({ address: "0000:01:00.1", group: 12 })
    .pci({ address: "0000:01:00.2", group: 12, driver: "mlx5_vfio_pci" })
    .pci({
      ...nic,
      bars: [
        [0x20000, BAR.memory],
        [0x20, BAR.io],
        [2 ** 34, BAR.prefetchable],
      ],
    });
  const { number, node: path, devices } = await iommuGroup({ ...node, path: "/dev/vfio/7" }, sysfs.root);
  assert.deepEqual([number, path], [12, "/dev/vfio/12"]);
  assert.deepEqual(
    devices.map(({ address }) => address),
    ["0000:01:00.0", "0000:01:00.2"],
  );
  assert.deepEqual(devices[0], {
    ...{ address: "0000:01:00.0", id: "8086:10d3", classCode: "020000", driver: "vfio-pci" },
    windows: { memory: 0x20000, prefetchable: 2 ** 34 },
  });
});

const REFUSALS: readonly [name: string, host: (sysfs: FakeSysfs) => FakeSysfs, message: RegExp][] = [
  [
    "a group with a device that the host uses",
    (sysfs) =>
      sysfs.groupNode(0, "12").pci(nic).pci({ address: "0000:01:00.1", group: 12, driver: "e1000e" }),
    /IOMMU group 12: 0000:01:00\.1 \(8086:10d3\) is bound to e1000e.*driverctl set-override 0000:01:00\.1 vfio-pci/,
  ],
  [
    "a group of which no device is bound to vfio-pci",
    (sysfs) => sysfs.groupNode(0, "12").pci({ ...nic, driver: "pci-stub" }),
    /IOMMU group 12: none of its devices is bound to vfio-pci; bind it .*0000:01:00\.0/,
  ],
  ["a host without an IOMMU", (sysfs) => sysfs.groupNode(0, "12"), /the host's IOMMU is off/],
  [
    "a group that has vanished",
    (sysfs) => sysfs.groupNode(0, "12").member(3, "0000:00:01.0"),
    /IOMMU group 12 does not exist/,
  ],
  [
    "a device that is being removed",
    (sysfs) => sysfs.groupNode(0, "12").member(12, "0000:01:00.0"),
    /^device \/dev\/vfio\/12: IOMMU group 12: .*no such file or directory/,
  ],
  [
    "a device without an IOMMU",
    (sysfs) => sysfs.groupNode(0, "noiommu-0"),
    /no IOMMU for it \(noiommu-0\).*enable the IOMMU/,
  ],
  ["numbers that the host does not have", (sysfs) => sysfs, /\(c 243:0\): not a VFIO group of this host/],
  [
    "a device that is not a PCI device",
    (sysfs) => sysfs.groupNode(0, "12").member(12, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"),
    /IOMMU group 12: 83b8f4f2-\S+ is not a PCI device/,
  ],
];

for (const [name, host, message] of REFUSALS) {
  test(`refused with the remedy: ${name}`, async (t) => {
    const { root } = host(new FakeSysfs(t));
    await assert.rejects(iommuGroup(node, root), { code: "FailedPrecondition", message });
  });
}

test("the largest device that could be assigned is that of any VFIO driver", async (t) => {
  const sysfs = new FakeSysfs(t);
  assert.deepEqual(await largestAssignable(sysfs.root), { memory: 0, prefetchable: 0 });
  sysfs
    .pci({ ...nic, bars: [[2 ** 25, BAR.memory]] })
    .pci({
      address: "0000:02:00.0",
      group: 13,
      driver: "nvgrace_gpu_vfio_pci",
      bars: [[2 ** 34, BAR.prefetchable]],
    })
    .pci({ address: "0000:03:00.0", group: 14, driver: "nvme", bars: [[2 ** 40, BAR.memory]] });
  const largest = { memory: 2 ** 25, prefetchable: 2 ** 34 };
  assert.deepEqual(await largestAssignable(sysfs.root), largest);
  sysfs.removed({ address: "0000:05:00.1", driver: "vfio-pci" });
  assert.deepEqual(await largestAssignable(sysfs.root), largest);
});
