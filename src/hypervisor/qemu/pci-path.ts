import type { Deadline } from "../../core/deadline.ts";
import { internal } from "../../core/errors.ts";
import type { Port } from "./ports.ts";
import type { QmpClient } from "./qmp-client.ts";

/**
 * Returns the PCI path (`Plugged.pciPath`) of the device in a port. QEMU has assigned the slot of the bridge or root port. The
 * guest's bus numbers, which QEMU also reports, are not used.
 */
export async function pciPathOf(qmp: QmpClient, port: Port, deadline: Deadline): Promise<string> {
  const buses: unknown = await qmp.execute("query-pci", undefined, deadline);
  const root = list(buses).find((bus) => bus.bus === 0);
  const found = list(root?.devices).find((device) => device.qdev_id === port.bus);
  const { slot, function: number } = found ?? {};
  if (!isIn(slot, 0x1f) || !isIn(number, 7)) throw internal(`qemu: query-pci does not list ${port.bus}`);
  return `${hex(slot)}.${number}/${hex(port.slot)}.0`;
}

const hex = (slot: number) => slot.toString(16).padStart(2, "0");

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "object" && one !== null) : [];
}

const isIn = (value: unknown, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
