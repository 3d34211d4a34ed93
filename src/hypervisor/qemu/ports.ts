import { failedPrecondition, resourceExhausted } from "../../core/errors.ts";
import type { PciWindows } from "../../host/pci-device.ts";
import type { VmSpec } from "../hypervisor.ts";

const MIB = 2 ** 20;

/** What the firmware reserves for an empty port without a hint (SeaBIOS, src/fw/pciinit.c). */
const DEFAULT_WINDOWS: PciWindows = { memory: 2 * MIB, prefetchable: 2 * MIB };

/** What a q35 machine has for PCI below 4 GiB: from the end of MMCONFIG to the I/O APIC (SeaBIOS, src/fw/pciinit.c). */
const BELOW_4_GIB = 0xfec0_0000 - 0xc000_0000;

/** A PCIe root port into which one device can be hot-plugged. */
export interface Port {
  readonly id: string;
  readonly windows: PciWindows;
  /** Whether the windows differ from the firmware's default. */
  readonly sized: boolean;
}

/**
 * Returns the root ports of a q35 machine. Each costs boot time. Clones need more, because all their devices are
 * hot-plugged.
 */
function portsOf({ memoryFile, assignable }: VmSpec): Port[] {
  const common = memoryFile === undefined ? 4 : 8;
  const named = (prefix: string, count: number, windows: PciWindows, sized: boolean) =>
    Array.from({ length: count }, (_, index) => ({ id: `${prefix}${index}`, windows, sized }));
  return [
    ...named("hotplug", common, DEFAULT_WINDOWS, false),
    ...(assignable ? named("assigned", assignable.count, windowsFor(assignable.windows), true) : []),
  ];
}

/** Returns QEMU's arguments for the ports. Throws FailedPrecondition if the firmware could not map their windows. */
export function portArguments(spec: VmSpec): string[] {
  const { count, windows } = spec.assignable ?? { count: 0, windows: DEFAULT_WINDOWS };
  const { memory } = windowsFor(windows);
  if (count * memory > BELOW_4_GIB) {
    throw failedPrecondition(
      `VM ${spec.name}: hypervisor.pcie_root_port: ${count} ports with ${mib(memory)} MiB of 32-bit address space each ` +
        `exceed the machine's ${mib(BELOW_4_GIB)} MiB; reserve fewer ports`,
    );
  }
  return portsOf(spec).flatMap(({ id, windows, sized }, index) => {
    const place = `pcie-root-port,id=${id},chassis=${index + 1},slot=${index + 1}`;
    const reserve = `,mem-reserve=${windows.memory},pref64-reserve=${windows.prefetchable}`;
    return ["-device", `${place}${sized ? reserve : ""}`];
  });
}

/** The ports of a VM into which nothing is hot-plugged. */
export class FreePorts {
  readonly #all: readonly Port[];
  #free: readonly Port[];

  constructor(private readonly spec: VmSpec) {
    this.#all = portsOf(spec);
    this.#free = this.#all;
  }

  /**
   * Takes a port for a device, for an assigned one a port with room for its BARs. Throws ResourceExhausted, or
   * FailedPrecondition if the VM has no such port at all.
   */
  take(assigned?: PciWindows): Port {
    const fits = ({ windows, sized }: Port) =>
      assigned ? assigned.memory <= windows.memory && assigned.prefetchable <= windows.prefetchable : !sized;
    // A sized port first: disks and shares cannot use it.
    const port = this.#free.filter(fits).sort((a, b) => Number(b.sized) - Number(a.sized))[0];
    if (port) {
      this.#free = this.#free.filter((one) => one !== port);
      return port;
    }
    const { name } = this.spec;
    const usable = this.#all.filter(fits).length;
    if (assigned && usable === 0) {
      throw failedPrecondition(
        `VM ${name}: no PCIe root port has room for the device's BARs (${mib(assigned.memory)} MiB, and ` +
          `${mib(assigned.prefetchable)} MiB prefetchable); set hypervisor.pcie_root_port`,
      );
    }
    throw resourceExhausted(`VM ${name}: all ${usable} hotplug ports are in use`);
  }

  give(port: Port): void {
    this.#free = [...this.#free, port];
  }
}

const mib = (bytes: number) => Math.ceil(bytes / MIB);

/** Windows with room for a device's BARs: each BAR is aligned to its size, a power of two. */
function windowsFor({ memory, prefetchable }: PciWindows): PciWindows {
  const rounded = (bytes: number) => 2 ** Math.ceil(Math.log2(Math.max(bytes, 2 * MIB)));
  return { memory: rounded(memory), prefetchable: rounded(prefetchable) };
}
