import { invalidArgument } from "../../../src/core/errors.ts";
import type { BlockDevice } from "../../../src/proto/generated/hull/agent/v1/agent.ts";
import { readText } from "../files.ts";
import { within } from "../loop/timeout.ts";
import { checkPath } from "../names.ts";
import { allowing, errnoName, type Sys } from "../sys.ts";

/** A disk of the VM that a container sees as a device. */
export interface Disk {
  /** Path of the device node in the container. */
  readonly path: string;
  readonly access: string;
  readonly major: number;
  readonly minor: number;
}

/**
 * Lists a disk before its device node appears, unlike /sys/block (device_add_disk in the kernel's
 * block/genhd.c).
 */
const DISKS = "/sys/class/block";
/** virtio-blk serial numbers have at most 20 bytes (virtio 1.2, 5.2.6.2). */
const SERIAL = /^[A-Za-z0-9_.-]{1,20}$/;
const ACCESS = /^rw?$/;
/**
 * How often to retry a disk whose device node exists but cannot be opened yet: there is no event for that.
 */
const RETRY_MS = 2;

/** A disk as the kernel knows it. */
interface KernelDisk {
  /** Name of the device node in /dev. */
  readonly name: string;
  readonly major: number;
  readonly minor: number;
}

/**
 * Waits for the disks that a container sees as devices. Rejects with InvalidArgument, or DeadlineExceeded
 * after `timeoutMs`.
 */
export async function awaitDevices(
  sys: Sys,
  wanted: readonly BlockDevice[],
  timeoutMs: number,
): Promise<Disk[]> {
  for (const { path, access } of wanted) {
    checkPath("block device: path", path);
    if (!ACCESS.test(access)) throw invalidArgument(`block device ${path}: access is neither r nor rw`);
  }
  const serials = wanted.map(({ serial }) => serial);
  const disks = await awaitDisks(sys, serials, timeoutMs);
  return disks.map(({ major, minor }, index) => {
    const { path = "", access = "" } = wanted[index] ?? {};
    return { path, access, major, minor };
  });
}

/**
 * Finds disks by their serial numbers. For a hot-plugged disk the kernel needs a moment: first the device
 * node appears, then it can be opened. Rejects with InvalidArgument, or with DeadlineExceeded after
 * `timeoutMs`.
 */
export async function awaitDisks(
  sys: Sys,
  serials: readonly string[],
  timeoutMs: number,
): Promise<KernelDisk[]> {
  if (serials.length === 0) return [];
  const wrong = serials.find((serial) => !SERIAL.test(serial));
  if (wrong !== undefined) throw invalidArgument(`disk ${JSON.stringify(wrong)}: not a serial number`);
  const watch = sys.inotify("/dev", sys.IN_CREATE);
  let timer: number | undefined;
  const stopTimer = () => {
    if (timer !== undefined) sys.clearTimer(timer);
    timer = undefined;
  };
  try {
    const found = new Promise<KernelDisk[]>((resolve, reject) => {
      const buffer = new Uint8Array(4096);
      const look = (): void => {
        stopTimer();
        try {
          while (sys.read(watch, buffer, 0, buffer.length) > 0);
          const known = disksBySerial(sys);
          const disks = serials.flatMap((serial) => known.get(serial) ?? []);
          if (disks.length < serials.length) return;
          if (disks.every(({ name }) => opens(sys, name))) resolve(disks);
          else timer = sys.setTimer(RETRY_MS, look);
        } catch (error) {
          reject(error);
        }
      };
      sys.watch(watch, { read: true }, look);
      look();
    });
    return await within(sys, timeoutMs, `disks ${serials.join(", ")} to appear`, found);
  } finally {
    stopTimer();
    sys.unwatch(watch);
    sys.close(watch);
  }
}

/** Whether the device node can be opened. */
function opens(sys: Pick<Sys, "open" | "close" | "O_RDONLY">, name: string): boolean {
  try {
    sys.close(sys.open(`/dev/${name}`, sys.O_RDONLY));
    return true;
  } catch (error) {
    if (["ENXIO", "ENOENT"].includes(errnoName(error) ?? "")) return false;
    throw error;
  }
}

function disksBySerial(sys: Pick<Sys, "readdir" | "readFile">) {
  const disks = new Map<string, KernelDisk>();
  for (const name of sys.readdir(DISKS)) {
    // Not every disk has a serial number, and one may be removed meanwhile.
    allowing(["ENOENT", "ENODEV", "EIO"], () => {
      const serial = readText(sys, `${DISKS}/${name}/serial`).trim();
      const [major = 0, minor = 0] = readText(sys, `${DISKS}/${name}/dev`).trim().split(":").map(Number);
      disks.set(serial, { name, major, minor });
    });
  }
  return disks;
}
