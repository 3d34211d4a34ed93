import { failedPrecondition, resourceExhausted } from "../../core/errors.ts";
import type { PciWindows } from "../../host/pci-device.ts";
import type { VmSpec } from "../hypervisor.ts";

const MIB = 2 ** 20;

/** Slot 0 is that of the bridge's own hotplug controller, if it has one. */
const BRIDGE = { id: "hotplug", firstSlot: 1, slots: 31 };

/** The address space of each slot of the bridge, on average. */
const SLOT_WINDOWS: PciWindows = { memory: 2 * MIB, prefetchable: 2 * MIB };

const BRIDGE_WINDOW = 64 * MIB;

/** What a q35 machine has for PCI below 4 GiB: from the end of MMCONFIG to the I/O APIC (SeaBIOS, src/fw/pciinit.c). */
const BELOW_4_GIB = 0xfec0_0000 - 0xc000_0000;

/** Where one device can be hot-plugged: a slot of the bridge, or a PCIe root port for an assigned device. */
export interface Port {
  readonly id: string;
  /** QEMU's id of the bridge or root port. */
  readonly bus: string;
  /** The device's slot in it. */
  readonly slot: number;
  readonly windows: PciWindows;
  /** Whether it is only for assigned devices. */
  readonly assigned: boolean;
}

function portsOf({ assignable }: VmSpec): Port[] {
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
  const slots = numbers(BRIDGE.slots).map((index) => ({
    ...{ id: `${BRIDGE.id}${index}`, bus: BRIDGE.id, slot: BRIDGE.firstSlot + index },
    ...{ windows: SLOT_WINDOWS, assigned: false },
  }));
  const rootPorts = numbers(assignable?.count ?? 0).map((index) => ({
    ...{ id: `assigned${index}`, bus: `assigned${index}`, slot: 0 },
    ...{ windows: windowsFor(assignable?.windows ?? SLOT_WINDOWS), assigned: true },
  }));
  return [...slots, ...rootPorts];
}

/**
 * Returns QEMU's arguments for the ports. Throws FailedPrecondition if the firmware could not map their windows.
 *
 * All devices but assigned ones share one conventional bridge: a root port for each would cost a boot with KVM 90 ms per port, and
 * a clone still more, because whatever maps or unmaps a window takes QEMU a millisecond.
 */
export function portArguments(spec: VmSpec): string[] {
  const rootPorts = portsOf(spec).filter(({ assigned }) => assigned);
  const memory = rootPorts[0]?.windows.memory ?? 0;
  const free = BELOW_4_GIB - BRIDGE_WINDOW;
  if (rootPorts.length * memory > free) {
    throw failedPrecondition(
      `VM ${spec.name}: hypervisor.pcie_root_port: ${rootPorts.length} ports with ${mib(memory)} MiB of 32-bit address ` +
        `space each exceed the machine's ${mib(free)} MiB; reserve fewer ports`,
    );
  }
  // Without SHPC, the kernel uses ACPI. The firmware reserves nothing for an empty bridge without SHPC unless told to.
  const bridge = [
    `pci-bridge,id=${BRIDGE.id},chassis_nr=1,shpc=off`,
    `io-reserve=4K,mem-reserve=${BRIDGE_WINDOW},pref64-reserve=${BRIDGE_WINDOW}`,
  ];
  return [
    ...["-device", bridge.join(",")],
    ...rootPorts.flatMap(({ id, windows }, index) => {
      const place = `pcie-root-port,id=${id},chassis=${index + 1},slot=${index + 1}`;
      return ["-device", `${place},mem-reserve=${windows.memory},pref64-reserve=${windows.prefetchable}`];
    }),
  ];
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
    const fits = ({ windows, assigned: only }: Port) =>
      assigned ? assigned.memory <= windows.memory && assigned.prefetchable <= windows.prefetchable : !only;
    // A root port first: disks and shares cannot use it.
    const port = this.#free.filter(fits).sort((a, b) => Number(b.assigned) - Number(a.assigned))[0];
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
