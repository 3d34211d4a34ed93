import { open } from "node:fs/promises";
import type { Check, Finding } from "./finding.ts";

interface Device {
  readonly name: string;
  readonly path: string;
  readonly needed: boolean;
  readonly without: string;
}

const DEVICES: readonly Device[] = [
  { name: "tun", path: "/dev/net/tun", needed: true, without: "run: modprobe tun" },
  {
    name: "vhost-vsock",
    path: "/dev/vhost-vsock",
    needed: false,
    without: "vsock is served in user space (hybrid); for the kernel's run: modprobe vhost_vsock",
  },
  {
    name: "vhost-net",
    path: "/dev/vhost-net",
    needed: false,
    without: "packets go through the VMM; for the kernel's path run: modprobe vhost_net",
  },
];

/** Checks that the host's devices exist and can be opened. */
export const devices: Check = async () => await Promise.all(DEVICES.map(probe));

async function probe({ name, path, needed, without }: Device): Promise<Finding> {
  try {
    await (await open(path, "r+")).close();
    return { name, status: "ok", detail: path };
  } catch (thrown) {
    const { code = "" } = thrown as NodeJS.ErrnoException;
    const detail = code === "ENOENT" ? `${path} does not exist` : `${path} cannot be opened (${code})`;
    return { name, status: needed ? "fail" : "missing", detail, advice: without };
  }
}
