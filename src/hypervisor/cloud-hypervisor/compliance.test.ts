import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fakeMachine } from "../../../test/testkit/cloud-hypervisor-machine.ts";
import { hypervisorCompliance } from "../../../test/testkit/hypervisor-compliance.ts";
import { CloudHypervisor } from "./driver.ts";

hypervisorCompliance("cloud-hypervisor with the fake VMM", async () => {
  const { spec, directory, dispose } = fakeMachine();
  const path = join(directory, "disk.img");
  writeFileSync(path, Buffer.alloc(1 << 20));
  return {
    hypervisor: new CloudHypervisor(),
    spec,
    // vm.boot is answered before the guest's first line has arrived through the pipe.
    ready: async (vm) => {
      for (let attempt = 0; attempt < 200 && vm.console() === ""; attempt++) await sleep(20);
    },
    device: async () => ({ kind: "disk", path, readOnly: true, serial: "data" }),
    kill: (vm) => process.kill(vm.pid, "SIGKILL"),
    release: async () => dispose(),
  };
});
