import { setTimeout as sleep } from "node:timers/promises";
import { Deadline } from "../../src/core/deadline.ts";
import { ApiClient } from "../../src/hypervisor/cloud-hypervisor/api-client.ts";
import type { VmInfo } from "../../src/hypervisor/cloud-hypervisor/api-types.ts";

/** How long to wait for an answer before trying another connection. */
const ATTEMPT_MS = 3_000;

/** Waits until the VM runs. Resolves with vm.info of the API at `socket`, and the VMM's PID. */
export async function runningCloudHypervisor(socket: string): Promise<{ pid: number; info: VmInfo }> {
  const deadline = Deadline.after(60_000, "a running VM of Cloud Hypervisor");
  const client = new ApiClient(socket);
  try {
    while (true) {
      // The VM is not created yet, or the shim, which binds the socket, still has it and does not answer.
      const attempt = deadline.shorter(ATTEMPT_MS, "an answer");
      const info = await client.info(attempt).catch(() => undefined);
      attempt.dispose();
      if (info?.state === "Running") return { pid: (await client.ping(deadline)).pid ?? 0, info };
      await deadline.race(sleep(50));
    }
  } finally {
    client.close();
    deadline.dispose();
  }
}
