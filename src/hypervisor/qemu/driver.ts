import { statSync } from "node:fs";
import { access, constants } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { Deadline } from "../../core/deadline.ts";
import { HullError, internal, invalidArgument, unavailable } from "../../core/errors.ts";
import { type HostProcess, launch } from "../../host/process-launcher.ts";
import { lastLines, RingBuffer } from "../../host/ring-buffer.ts";
import type { Hypervisor, Vm, VmContext, VmSpec } from "../hypervisor.ts";
import { commandLine } from "./command-line.ts";
import { adviceFor } from "./exit-reason.ts";
import { QmpClient } from "./qmp-client.ts";
import { QemuVm } from "./vm.ts";

/** Runs virtual machines with QEMU, driven over QMP. */
export class Qemu implements Hypervisor {
  readonly type = "qemu";

  async boot(spec: VmSpec, context: VmContext): Promise<Vm> {
    await checkSpec(spec);
    return await this.#start(spec, context, commandLine(spec, isBlockDevice));
  }

  /** Starts QEMU, connects QMP and waits until the machine runs. What fails is told with QEMU's own last words. */
  async #start(spec: VmSpec, context: VmContext, args: string[]): Promise<Vm> {
    const console = new RingBuffer();
    const vmm = await launch(
      {
        role: "qemu",
        argv: [spec.path, ...args],
        pod: context.pod,
        netns: spec.netns,
        fds: ["channel", ...(spec.vsock.kind === "vhost" ? [spec.vsock.fd] : [])],
        onStdout: (data) => console.write(data),
      },
      context.ledger,
    );
    context.log("started qemu", { pid: vmm.pid, args });
    try {
      const qmp = await this.#connect(vmm, context.deadline);
      const vm = new QemuVm(spec, vmm, qmp, console);
      const { status, running } = await qmp.execute("query-status", undefined, context.deadline);
      if (!running) throw unavailable(`the machine is in state ${status} instead of running`);
      return vm;
    } catch (thrown) {
      throw await this.#startFailure(spec, vmm, console, thrown);
    }
  }

  async #connect(vmm: HostProcess, deadline: Deadline): Promise<QmpClient> {
    if (!vmm.channel) throw internal("qemu: started without a QMP connection");
    return await QmpClient.connect(vmm.channel as Duplex, deadline);
  }

  async #startFailure(
    spec: VmSpec,
    vmm: HostProcess,
    console: RingBuffer,
    thrown: unknown,
  ): Promise<HullError> {
    // When QEMU has ended by itself, its exit is the cause and the broken connection only the symptom.
    const grace = Deadline.after(500, "qemu's exit");
    const exit = await grace.race(vmm.exited).catch(() => undefined);
    grace.dispose();
    const kill = Deadline.after(0);
    await vmm.stop(kill);
    const words = lastLines(vmm.stderr(), 5);
    const cause = exit
      ? `${exit.reason}${words.includes("\n") ? `\n${words}` : ""}`
      : HullError.from(thrown).message;
    const output = lastLines(console.text(), 10);
    const tail = output === "" ? "" : `\nlast console lines:\n${output}`;
    const code = exit ? "Unavailable" : HullError.from(thrown).code;
    return new HullError(code, `VM ${spec.name}: boot: ${cause}${adviceFor(words, spec)}${tail}`, {
      cause: thrown,
    });
  }
}

/** Smaller than this no Linux guest with an initrd boots. */
const LEAST_MEMORY_MIB = 32;

async function checkSpec(spec: VmSpec): Promise<void> {
  for (const what of ["kernel", "initrd"] as const) {
    await access(spec[what], constants.R_OK).catch((cause: unknown) => {
      throw new HullError(
        "NotFound",
        `VM ${spec.name}: boot: the guest's ${what} ${spec[what]} cannot be read; build the guest image or set hypervisor.${what}`,
        { cause },
      );
    });
  }
  if (spec.memoryMib < LEAST_MEMORY_MIB) {
    throw invalidArgument(
      `VM ${spec.name}: ${spec.memoryMib} MiB of memory is too little for any guest; set hypervisor.default_memory to ${LEAST_MEMORY_MIB} or more`,
    );
  }
  if (spec.vsock.kind === "hybrid") {
    throw invalidArgument(
      `VM ${spec.name}: QEMU has no hybrid vsock device of its own; give it a vhost-user one`,
    );
  }
  if (spec.vcpus < 1) throw invalidArgument(`VM ${spec.name}: ${spec.vcpus} vCPUs; it must be at least 1`);
}

export function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false;
}
