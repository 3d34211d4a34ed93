import { readFile, stat } from "node:fs/promises";
import { HullError, notFound } from "../core/errors.ts";

/**
 * The path of a host's block device by its numbers: what a container's spec says of one, since its own path is that in
 * the container. Throws NotFound.
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
  // glibc's makedev(3): 12 bits of major behind 8 of minor, the rest above.
  const rdev = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
  if (name === undefined || !found.isBlockDevice() || found.rdev !== rdev)
    throw notFound(`${what} of the host: ${path} is another device`);
  return path;
}
