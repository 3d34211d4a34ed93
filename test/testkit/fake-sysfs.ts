import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";

/** A PCI device of a fake host. Resources are `[size, flags]` of its BARs. */
export interface FakePciDevice {
  readonly address: string;
  readonly group: number;
  readonly classCode?: string;
  readonly id?: readonly [vendor: string, device: string];
  readonly driver?: string;
  readonly bars?: readonly (readonly [size: number, flags: number])[];
}

/** Memory, not prefetchable; memory, prefetchable and 64-bit; I/O ports (include/linux/ioport.h). */
export const BAR = { memory: 0x40200, prefetchable: 0x14220c, io: 0x40101 } as const;

/** The part of /sys that describes PCI devices and their IOMMU groups, in a temporary directory. */
export class FakeSysfs {
  readonly root = mkdtempSync(join(tmpdir(), "hull-sysfs-"));

  constructor(t: TestContext) {
    t.after(() => rmSync(this.root, { recursive: true }));
    this.#write("kernel/.keep", "");
  }

  pci({
    address,
    group,
    classCode = "020000",
    id = ["8086", "10d3"],
    driver,
    bars = [],
  }: FakePciDevice): this {
    const directory = `bus/pci/devices/${address}`;
    this.#write(`${directory}/vendor`, `0x${id[0]}\n`);
    this.#write(`${directory}/device`, `0x${id[1]}\n`);
    this.#write(`${directory}/class`, `0x${classCode}\n`);
    const lines = bars.map(([size, flags], index) => {
      const start = 2 ** 36 * (index + 1);
      return `0x${start.toString(16)} 0x${(start + size - 1).toString(16)} 0x${flags.toString(16)}`;
    });
    // 6 BARs, the ROM, and the resources of bridges and virtual functions, which do not count.
    const empty = "0x0000000000000000 0x0000000000000000 0x0000000000000000";
    while (lines.length < 7) lines.push(empty);
    lines.push("0x0000001000000000 0x0000001fffffffff 0x000000000014220c");
    this.#write(`${directory}/resource`, `${lines.join("\n")}\n`);
    if (driver) {
      this.#link(`bus/pci/drivers/${driver}/${address}`, `../../../../${directory}`);
      this.#link(`${directory}/driver`, `../../../../bus/pci/drivers/${driver}`);
    }
    return this.member(group, address);
  }

  /** Adds a device of any kind to a group. */
  member(group: number, name: string): this {
    this.#write(`kernel/iommu_groups/${group}/devices/${name}`, "");
    return this;
  }

  /** Adds a device that its driver still lists, but that is being removed. */
  removed({ address, driver }: { readonly address: string; readonly driver: string }): this {
    this.#link(`bus/pci/drivers/${driver}/${address}`, `../../../../bus/pci/devices/${address}`);
    return this;
  }

  /** Adds the character device of a group: `name` is the group's number, or `noiommu-N`. */
  groupNode(minor: number, name: string): this {
    this.#link(`dev/char/243:${minor}`, `../../devices/virtual/vfio/${name}`);
    return this;
  }

  #write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  #link(path: string, target: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    symlinkSync(target, join(this.root, path));
  }
}
