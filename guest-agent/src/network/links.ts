import { readText } from "../files.ts";
import { within } from "../loop/timeout.ts";
import type { Sys } from "../sys.ts";

/** RTMGRP_LINK of linux/rtnetlink.h: interfaces that are added or removed. */
const LINK_GROUP = 1;
const DIRECTORY = "/sys/class/net";

interface Link {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
}

/** The guest's network interfaces. */
export function listLinks(sys: Pick<Sys, "readdir" | "readFile">): Link[] {
  return sys.readdir(DIRECTORY).map((name) => ({
    name,
    index: Number(readText(sys, `${DIRECTORY}/${name}/ifindex`)),
    mac: readText(sys, `${DIRECTORY}/${name}/address`).trim().toLowerCase(),
  }));
}

/**
 * Resolves when there is an interface for each of the (lower-case) MAC addresses: the kernel needs a moment
 * for a hot-plugged one. Rejects with DeadlineExceeded after `timeoutMs`.
 */
export async function awaitLinks(sys: Sys, macs: readonly string[], timeoutMs: number): Promise<void> {
  const missing = () => {
    const present = new Set(listLinks(sys).map(({ mac }) => mac));
    return macs.filter((mac) => !present.has(mac));
  };
  if (missing().length === 0) return;
  const fd = sys.netlinkRoute(LINK_GROUP);
  const buffer = new Uint8Array(8192);
  try {
    const appeared = new Promise<void>((resolve, reject) => {
      const look = () => {
        try {
          if (missing().length === 0) resolve();
        } catch (error) {
          reject(error);
        }
      };
      sys.watch(fd, { read: true }, () => {
        // The content does not matter: any message is a reason to look again.
        while (sys.read(fd, buffer, 0, buffer.length) > 0);
        look();
      });
      look(); // it may have appeared before the socket was bound
    });
    await within(sys, timeoutMs, `network: interfaces ${missing().join(", ")} to appear`, appeared);
  } finally {
    sys.unwatch(fd);
    sys.close(fd);
  }
}
