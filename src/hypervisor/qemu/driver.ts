import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { Deadline } from "../../core/deadline.ts";
import { HullError, internal, invalidArgument, resourceExhausted, unavailable } from "../../core/errors.ts";
import { freeMib } from "../../host/free-space.ts";
import { PathAccess } from "../../host/path-access.ts";
import { type HostProcess, launch } from "../../host/process-launcher.ts";
import { lastLines, RingBuffer } from "../../host/ring-buffer.ts";
import { accessibleSpec } from "../accessible-spec.ts";
import { checkSize } from "../check-size.ts";
import { consoleTail } from "../console-tail.ts";
import { checkGuestImage } from "../guest-image.ts";
import type { Hypervisor, Vm, VmContext, VmSpec } from "../hypervisor.ts";
import { CLONE_FD, commandLine, macvtaps, QMP_FD, VHOST_FD } from "./command-line.ts";
import { adviceFor } from "./exit-reason.ts";
import { isBlockDevice } from "./is-block-device.ts";
import { QmpClient } from "./qmp-client.ts";
import { loadState, memoryFileIn, openClone } from "./template.ts";
import { QemuVm } from "./vm.ts";

/**
 * How long to wait for QEMU's exit after a failure with this code. A lost connection (Unavailable) is the first sign of an exit,
 * which takes a while on a busy host.
 */
const EXIT_MS: Partial<Record<string, number>> = { Internal: 0, Unavailable: 5_000 };

/** Runs VMs with QEMU, driven over QMP. */
export class Qemu implements Hypervisor {
  readonly type = "qemu";

  /** @param installation the directory that contains hull's helpers in libexec/ */
  constructor(private readonly installation: string) {}

  async boot(spec: VmSpec, context: VmContext): Promise<Vm> {
    await checkSpec(spec);
    const { memory, user } = spec;
    const files: FileHandle[] = [];
    try {
      for (const path of macvtaps(spec)) files.push(await open(path, constants.O_RDWR));
      // QEMU inherits the file, because its user may not be allowed to create one in that directory.
      const inherited = user && memory?.directory !== undefined;
      const file = inherited ? await memoryFileIn(memory.directory, user) : undefined;
      if (file) files.push(file);
      const fds = [...vhostFd(spec), ...files.map(({ fd }) => fd)];
      const directory = file ? `/proc/self/fd/${VHOST_FD + fds.length - 1}` : memory?.directory;
      const withMemory = memory ? { ...spec, memory: { ...memory, directory } } : spec;
      return await this.#start(withMemory, context, [], fds, async (qmp) => {
        const { status, running } = await qmp.execute("query-status", undefined, context.deadline);
        if (!running) throw unavailable(`the VM is in state ${status} instead of running`);
      });
    } finally {
      for (const file of files) await file.close();
    }
  }

  async restore(template: string, spec: VmSpec, context: VmContext): Promise<Vm> {
    const clone = await openClone(template, spec.user, join(this.installation, "libexec/copy-sparse"));
    try {
      // The memory is copied while QEMU starts, which does not read it before the state is loaded.
      const copied = clone.copyMemory(context.deadline);
      copied.catch(() => undefined); // awaited below; QEMU may fail first
      const bare: VmSpec = { ...spec, vsock: undefined, shares: [], nics: [], disks: [] };
      const wired: VmSpec = { ...bare, memoryFile: `/proc/self/fd/${CLONE_FD.memory}` };
      return await this.#start(
        wired,
        context,
        ["-incoming", "defer"],
        [clone.memory, clone.state, ...vhostFd(spec)],
        async (qmp) => {
          await copied;
          await loadState(qmp, CLONE_FD.state, context.deadline);
        },
      );
    } finally {
      await clone.close();
    }
  }

  /** Starts QEMU, connects QMP and calls `bringUp`. Errors include the last lines of QEMU's stderr. */
  async #start(
    spec: VmSpec,
    context: VmContext,
    more: readonly string[],
    fds: readonly number[],
    bringUp: (qmp: QmpClient) => Promise<void>,
  ): Promise<Vm> {
    const console = new RingBuffer();
    const access = new PathAccess(spec.user, QMP_FD + 1 + fds.length);
    let vmm: HostProcess;
    try {
      const accessible = await accessibleSpec(spec, access);
      const blocks = spec.disks.filter((disk) => isBlockDevice(disk.path)).map(({ path }) => access.at(path));
      const args = [...commandLine(accessible, (path) => blocks.includes(path)), ...more];
      vmm = await launch(
        {
          ...{ role: "qemu", argv: [spec.path, ...args], pod: context.pod },
          ...{ netns: spec.netns, user: spec.user, fds: ["channel", ...fds, ...access.fds] },
          onStdout: (data) => {
            console.write(data);
            context.onConsole?.(data);
          },
        },
        context.ledger,
      );
      context.log("started qemu", { pid: vmm.pid, user: spec.user?.id ?? 0, args });
    } finally {
      await access.close();
    }
    try {
      // The connection does not report a QEMU that exits before the connection is read.
      const died = vmm.exited.then((exit) => {
        throw unavailable(exit.reason);
      });
      died.catch(() => undefined); // after the start, `Vm.exited` reports it
      const started = this.#connect(vmm, context).then(async (qmp) => {
        const vm = new QemuVm(spec, vmm, qmp, console, access);
        await bringUp(qmp);
        return vm;
      });
      return await Promise.race([started, died]);
    } catch (thrown) {
      throw await this.#startFailure(spec, vmm, console, thrown);
    }
  }

  async #connect(vmm: HostProcess, { deadline, calls }: VmContext): Promise<QmpClient> {
    if (!vmm.channel) throw internal("qemu: started without a QMP connection");
    return await QmpClient.connect(vmm.channel as Duplex, deadline, calls);
  }

  async #startFailure(
    spec: VmSpec,
    vmm: HostProcess,
    console: RingBuffer,
    thrown: unknown,
  ): Promise<HullError> {
    // If QEMU exited, a lost connection is only a symptom. After a protocol violation, QEMU's exit is the symptom.
    const wait = EXIT_MS[HullError.from(thrown).code] ?? 500;
    const exit = await Deadline.within(wait, "qemu's exit", (limit) => limit.race(vmm.exited)).catch(
      () => undefined,
    );
    await vmm.stop(Deadline.after(0));
    const stderr = lastLines(vmm.stderr(), 5);
    const cause = exit
      ? `${exit.reason}${stderr.includes("\n") ? `\n${stderr}` : ""}`
      : HullError.from(thrown).message;
    const tail = consoleTail(console.text());
    const code = exit ? "Unavailable" : HullError.from(thrown).code;
    return new HullError(code, `VM ${spec.name}: boot: ${cause}${adviceFor(stderr, spec)}${tail}`, {
      cause: thrown,
    });
  }
}

async function checkSpec(spec: VmSpec): Promise<void> {
  await checkGuestImage(spec).catch((error: unknown) => {
    throw HullError.wrap(`VM ${spec.name}: boot`, error);
  });
  checkSize(spec);
  const directory = spec.memory?.directory;
  const free = directory === undefined ? Number.POSITIVE_INFINITY : await freeMib(directory);
  if (free < spec.memoryMib) {
    // The kernel would kill QEMU (SIGBUS) as soon as the guest has used all of it.
    throw resourceExhausted(
      `VM ${spec.name}: boot: ${directory} has ${free} MiB left for ${spec.memoryMib} MiB of memory; enlarge that file system or set hypervisor.memory_backend to memfd`,
    );
  }
  if (spec.vsock?.kind === "hybrid") {
    throw invalidArgument(
      `VM ${spec.name}: QEMU has no built-in hybrid vsock device; configure a vhost-user one`,
    );
  }
}

/** The descriptor of /dev/vhost-vsock that QEMU inherits, if the VM uses it. */
function vhostFd({ vsock }: VmSpec): number[] {
  return vsock?.kind === "vhost" ? [vsock.fd] : [];
}
