import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../../host/program.ts";
import { resolveAccel } from "../../hypervisor/qemu/accel.ts";
import { type Check, type CheckContext, type Finding, messageOf } from "./finding.ts";

/** Checks that KVM works by booting the guest's kernel, without any cached result. */
export const kvm: Check = async (context) => {
  const { accel, type } = context.config.hypervisor;
  if (accel === "tcg") return [{ name: "kvm", status: "ok", detail: "not used (hypervisor.accel is tcg)" }];
  if (type !== "qemu") return [];
  return [await probe(context, accel === "kvm")];
};

async function probe(
  { config, installation, path, deadline }: CheckContext,
  needed: boolean,
): Promise<Finding> {
  const name = "kvm";
  const directory = await mkdtemp(join(tmpdir(), "hull-check-"));
  let warning = "";
  try {
    const qemu = await findProgram("hypervisor.path", config.hypervisor.path, { installation, path });
    const warn = (message: string) => {
      warning = message;
    };
    const { kernel } = config.hypervisor;
    await access(kernel); // without the kernel, the probe would blame KVM
    const accel = await resolveAccel({ path: qemu, kernel, directory, warn }, deadline);
    if (accel === "kvm") return { name, status: "ok", detail: "KVM runs the guest's kernel" };
    const advice = needed ? "pods will not start; set hypervisor.accel to auto" : undefined;
    return { name, status: needed ? "fail" : "missing", detail: warning, advice };
  } catch (thrown) {
    return { name, status: needed ? "fail" : "missing", detail: `could not be probed: ${messageOf(thrown)}` };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
