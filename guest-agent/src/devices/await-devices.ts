import { deadlineExceeded, failedPrecondition } from "../../../src/core/errors.ts";
import type { Sys } from "../sys.ts";
import { checkPciPath, type DeviceNode, type PciDevice, pciDevice, type SysfsReader } from "./pci-device.ts";

/** Drivers create device nodes one by one; there is no event for the last one. */
const SETTLE_MS = 100;

type DevicesSys = SysfsReader &
  Pick<Sys, "netlinkUevents" | "read" | "watch" | "unwatch" | "close" | "setTimer" | "clearTimer">;

/**
 * Waits until drivers of the guest have bound the PCI devices, and returns the device nodes that they have created, for disks
 * and network adapters not before there is a disk or an interface. Rejects with InvalidArgument, or after `timeoutMs` with
 * DeadlineExceeded or, if a device lacks a driver, FailedPrecondition.
 */
export async function awaitPciDevices(
  sys: DevicesSys,
  paths: readonly string[],
  timeoutMs: number,
): Promise<DeviceNode[]> {
  if (paths.length === 0) return [];
  for (const path of paths) checkPciPath(path);
  const uevents = sys.netlinkUevents();
  const timers = new Set<number>();
  try {
    return await new Promise<DeviceNode[]>((resolve, reject) => {
      const buffer = new Uint8Array(8192);
      let settling: number | undefined;
      const timer = (ms: number, then: () => void) => {
        const id = sys.setTimer(ms, () => {
          timers.delete(id);
          attempt(then);
        });
        timers.add(id);
        return id;
      };
      const attempt = (step: () => void) => {
        try {
          step();
        } catch (error) {
          reject(error);
        }
      };
      const found = () => paths.map((path) => ({ path, device: pciDevice(sys, path) }));
      const look = () => {
        if (settling !== undefined) sys.clearTimer(settling);
        settling = undefined;
        if (found().some(({ device }) => missing(device) !== undefined)) return;
        settling = timer(SETTLE_MS, () => resolve(found().flatMap(({ device }) => device?.nodes ?? [])));
      };
      sys.watch(uevents, { read: true }, () => {
        // The content does not matter: any message is a reason to look again.
        attempt(() => {
          while (sys.read(uevents, buffer, 0, buffer.length) > 0);
          look();
        });
      });
      timer(timeoutMs, () => {
        const wanting = found().find(({ device }) => missing(device) !== undefined);
        reject(wanting ? failure(wanting.path, wanting.device, timeoutMs) : deadlineExceeded("PCI devices"));
      });
      attempt(look); // they may have appeared before the socket was bound
    });
  } finally {
    for (const id of timers) sys.clearTimer(id);
    sys.unwatch(uevents);
    sys.close(uevents);
  }
}

/** Returns what a device still lacks. */
function missing(device: PciDevice | undefined): "device" | "driver" | "disk" | "interface" | undefined {
  if (!device) return "device";
  if (device.driver === undefined) return "driver";
  if (device.classCode.startsWith("01") && !device.nodes.some(({ type }) => type === "b")) return "disk";
  if (device.classCode.startsWith("02") && !device.interface) return "interface";
  return undefined;
}

function failure(path: string, device: PciDevice | undefined, timeoutMs: number): Error {
  if (!device) return deadlineExceeded(`PCI device ${path}: has not appeared within ${timeoutMs} ms`);
  const { id, classCode, driver } = device;
  const subject = `PCI device ${path} (${id}, class ${classCode})`;
  return failedPrecondition(
    driver === undefined
      ? `${subject}: the guest's kernel has no driver for it; use a guest kernel that has one`
      : `${subject}: driver ${driver} has bound it but created no ${missing(device)} within ${timeoutMs} ms`,
  );
}
