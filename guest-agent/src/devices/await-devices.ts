import { deadlineExceeded, failedPrecondition } from "../../../src/core/errors.ts";
import { allowing, type Sys } from "../sys.ts";
import type { ModuleLibrary } from "./module-library.ts";
import { checkPciPath, type DeviceNode, type PciDevice, pciDevice, type SysfsReader } from "./pci-device.ts";

/** How long a kernel may take to choose a driver for a device that it has found. */
const DRIVER_MS = 5_000;
/** Drivers create device nodes one by one; there is no event for the last one. */
const SETTLE_MS = 100;

type DevicesSys = SysfsReader &
  Pick<Sys, "netlinkUevents" | "read" | "watch" | "unwatch" | "close" | "setTimer" | "clearTimer">;

/**
 * Waits until drivers of the guest have bound the PCI devices, disks have a block device and network adapters an interface.
 * Returns the device nodes that the drivers have created. Rejects with InvalidArgument; after `timeoutMs` with
 * DeadlineExceeded or FailedPrecondition; sooner with the latter if all devices are present, but one lacks a driver.
 */
export async function awaitPciDevices(
  sys: DevicesSys,
  paths: readonly string[],
  timeoutMs: number,
  modules: Pick<ModuleLibrary, "load">,
): Promise<DeviceNode[]> {
  if (paths.length === 0) return [];
  for (const path of paths) checkPciPath(path);
  const found = () => paths.map((path) => ({ path, device: pciDevice(sys, path) }));
  const nodes = () => found().flatMap(({ device }) => device?.nodes ?? []);
  const uevents = sys.netlinkUevents();
  const tried = new Set<string>();
  /** Loads the drivers of devices that have none. */
  const loadDrivers = () => {
    for (const { path, device } of found()) {
      if (device === undefined || device.driver !== undefined || tried.has(path)) continue;
      tried.add(path);
      modules.load(device.modalias);
    }
  };
  const timers = new Map<string, number>();
  const stop = (name: string) => {
    const id = timers.get(name);
    if (id !== undefined && timers.delete(name)) sys.clearTimer(id);
  };
  try {
    return await new Promise<DeviceNode[]>((resolve, reject) => {
      const attempt = (step: () => void) => {
        try {
          step();
        } catch (error) {
          reject(error);
        }
      };
      const later = (name: string, ms: number, step: () => void) => {
        const id = sys.setTimer(ms, () => {
          timers.delete(name);
          attempt(step);
        });
        timers.set(name, id);
      };
      const look = () => {
        stop("settled");
        loadDrivers();
        const lacking = found().map(({ device }) => missing(device));
        if (!lacking.includes("device") && !timers.has("driver")) {
          later("driver", DRIVER_MS, () => {
            const without = found().find(({ device }) => missing(device) === "driver");
            if (without) reject(failure(without.path, without.device, timeoutMs));
          });
        }
        if (lacking.every((one) => one === undefined)) later("settled", SETTLE_MS, () => resolve(nodes()));
      };
      const buffer = new Uint8Array(8192);
      sys.watch(uevents, { read: true }, () => {
        // The content does not matter: any message is a reason to look again, also one that was lost (ENOBUFS): a driver
        // may create more than the socket holds while its module is loaded, which blocks the agent.
        attempt(() => {
          allowing(["ENOBUFS"], () => {
            while (sys.read(uevents, buffer, 0, buffer.length) > 0);
          });
          look();
        });
      });
      later("all", timeoutMs, () => {
        const wanting = found().find(({ device }) => missing(device) !== undefined);
        if (wanting) reject(failure(wanting.path, wanting.device, timeoutMs));
        else resolve(nodes()); // other devices come and go all the time
      });
      attempt(look); // they may have appeared before the socket was bound
    });
  } finally {
    for (const name of [...timers.keys()]) stop(name);
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
