import { readFile, stat } from "node:fs/promises";
import { HullError, notFound } from "../core/errors.ts";

/**
 * Returns the path of a block device on the host. A container's spec only has its numbers, because the spec's
 * path is the one in the container. Throws NotFound.
 */
export async function blockDevicePath(major: number, minor: number): Promise<string> {
  const what = `block device ${major}:${minor}`;
  const uevent = await readFile(`/sys/dev/block/${major}:${minor}/uevent`, "utf8").catch((error: unknown) => {
    throw HullError.ofCallersPath(`${what} of the host`, error);
  });
  const name = /^DEVNAME=(.+)$/m.exec(uevent)?.[1];
  const path = `/dev/${name}`;
  const found = await stat(path).catch((error: unknown) => {
    throw HullError.ofCallersPath(`${what} of the host: ${path}`, error);
  });
  // makedev(3) of glibc: 12 bits of major above 8 of minor, the rest of minor above that.
  const rdev = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
  if (name === undefined || !found.isBlockDevice() || found.rdev !== rdev)
    throw notFound(`${what} of the host: ${path} is another device`);
  return path;
}
