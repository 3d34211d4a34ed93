import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";

const DEVICES = "/sys/bus/pci/devices";

/** A PCI device of this host that tests may bind to vfio-pci, because nothing uses it. */
export class SparePci {
  readonly #directory: string;

  constructor(readonly address: string) {
    this.#directory = join(DEVICES, address);
  }

  /** The device nodes of the group, which exists while the device is bound to vfio-pci. */
  get node(): string {
    return `/dev/vfio/${basename(readlinkSync(join(this.#directory, "iommu_group")))}`;
  }

  /** Vendor and device: `8086:10d3`. */
  get id(): string {
    const read = (file: string) => readFileSync(join(this.#directory, file), "latin1").trim().slice(2);
    return `${read("vendor")}:${read("device")}`;
  }

  get driver(): string | undefined {
    const link = join(this.#directory, "driver");
    return existsSync(link) ? basename(readlinkSync(link)) : undefined;
  }

  /** Binds it to a driver; "" = to the one that the kernel chooses, if there is one. */
  bind(driver: string): void {
    if (this.driver !== undefined) writeFileSync(join(this.#directory, "driver/unbind"), this.address);
    writeFileSync(join(this.#directory, "driver_override"), `${driver}\n`);
    writeFileSync("/sys/bus/pci/drivers_probe", this.address);
  }

  /** Whether no process has the group open: the kernel allows only one. */
  async isFree(): Promise<boolean> {
    try {
      await (await open(this.node, "r+")).close();
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EBUSY") return false;
      throw error;
    }
  }
}

/** The devices that HULL_SPARE_PCI lists by their addresses, by vendor and device. */
export function sparePci(): Map<string, SparePci> {
  const addresses = (process.env.HULL_SPARE_PCI ?? "").split(",").filter(Boolean);
  return new Map(addresses.map((address) => new SparePci(address)).map((device) => [device.id, device]));
}
