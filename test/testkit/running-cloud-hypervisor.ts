import { setTimeout as sleep } from "node:timers/promises";
import { Deadline } from "../../src/core/deadline.ts";
import { ApiClient } from "../../src/hypervisor/cloud-hypervisor/api-client.ts";
import type { VmInfo } from "../../src/hypervisor/cloud-hypervisor/api-types.ts";

/** What the API at `socket` answers, and the VMM's process id, as soon as the VM runs. */
export async function runningCloudHypervisor(socket: string): Promise<{ pid: number; info: VmInfo }> {
  const deadline = Deadline.after(60_000, "a running VM of Cloud Hypervisor");
  const client = new ApiClient(socket);
  try {
    while (true) {
      const info = await client.info(deadline).catch(() => undefined); // not created yet
      if (info?.state === "Running") return { pid: (await client.ping(deadline)).pid ?? 0, info };
      await deadline.race(sleep(50));
    }
  } finally {
    client.close();
    deadline.dispose();
  }
}
