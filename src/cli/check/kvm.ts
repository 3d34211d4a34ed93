import { open } from "node:fs/promises";
import type { Check } from "./finding.ts";

/** Whether guests can run on KVM. */
export const kvm: Check = async ({ config }) => {
  if (config.hypervisor.accel === "tcg") {
    return [{ name: "kvm", status: "ok", detail: "not used (hypervisor.accel is tcg)" }];
  }
  const needed = config.hypervisor.accel === "kvm";
  try {
    await (await open("/dev/kvm", "r+")).close();
    return [
      { name: "kvm", status: "ok", detail: "/dev/kvm can be opened; whether it runs a guest was not tried" },
    ];
  } catch (thrown) {
    const { code = "" } = thrown as NodeJS.ErrnoException;
    const detail = code === "ENOENT" ? "/dev/kvm does not exist" : `/dev/kvm cannot be opened (${code})`;
    const advice = needed ? "set hypervisor.accel to auto" : "guests are emulated (TCG), which is slow";
    return [{ name: "kvm", status: needed ? "fail" : "missing", detail, advice }];
  }
};
