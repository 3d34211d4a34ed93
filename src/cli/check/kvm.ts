import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../../host/program.ts";
import { kvmObstacle } from "../../hypervisor/qemu/accel.ts";
import { type KvmObstacle, openKvm } from "../../hypervisor/qemu/kvm-probe.ts";
import { type Check, type CheckContext, type Finding, messageOf } from "./finding.ts";

/** Shorter than for pods, because a person waits until the end of the probe. */
const LIMITS = { silence: 30_000, total: 60_000 };

/** Checks that KVM works by booting the guest's kernel, whatever is remembered. Pods use the new answer, too. */
export const kvm: Check = async (context) => {
  const { accel, type } = context.config.hypervisor;
  if (accel === "tcg") return [{ name: "kvm", status: "ok", detail: "not used (hypervisor.accel is tcg)" }];
  const needed = accel === "kvm" || type !== "qemu";
  try {
    const obstacle = type === "qemu" ? await probe(context) : await openKvm();
    return [
      finding(obstacle, needed, type === "qemu" ? "KVM runs the guest's kernel" : "/dev/kvm can be opened"),
    ];
  } catch (thrown) {
    const detail = `could not be probed: ${messageOf(thrown)}`;
    return [{ name: "kvm", status: needed ? "fail" : "missing", detail }];
  }
};

function finding(obstacle: KvmObstacle | undefined, needed: boolean, works: string): Finding {
  if (!obstacle) return { name: "kvm", status: "ok", detail: works };
  const { cause, remedy } = obstacle;
  if (needed) return { name: "kvm", status: "fail", detail: `${cause}; pods will not start`, advice: remedy };
  const detail = `${cause}; guests are emulated (TCG), which is slow`;
  return { name: "kvm", status: "missing", detail, advice: remedy };
}

async function probe(context: CheckContext): Promise<KvmObstacle | undefined> {
  const { config, installation, path, deadline } = context;
  const { kernel } = config.hypervisor;
  const qemu = await findProgram("hypervisor.path", config.hypervisor.path, { installation, path });
  await access(kernel); // without the kernel, the probe would blame KVM
  // Another user cannot renew the answer of root's pods.
  const own = process.getuid?.() === 0 ? undefined : await mkdtemp(join(tmpdir(), "hull-check-"));
  const silent = () => undefined; // it becomes the finding
  const search = {
    ...{ path: qemu, kernel, directory: own ?? context.state, fresh: true, limits: LIMITS },
    ...{ warn: silent, info: silent },
  };
  try {
    return await kvmObstacle(search, deadline);
  } finally {
    if (own !== undefined) await rm(own, { recursive: true, force: true });
  }
}
