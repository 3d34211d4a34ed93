import { parseArgs } from "node:util";
import { KERNELS, type KernelName } from "./host-kernel.ts";
import { QEMUS, type QemuName } from "./tools.ts";

/** The help of hack/lab. */
export const USAGE = `usage: hack/lab up [options]       start the emulated host
       hack/lab run COMMAND...     run a command in it, in this directory; the exit status is the command's
       hack/lab shell              open a shell in it
       hack/lab reboot             reset a host with systemd, which keeps what it wrote to its disk
       hack/lab down               end it and remove what it wrote

The host sees this machine's files as they were when it started; what it writes never reaches them. It has /dev/kvm,
/dev/vhost-vsock, /dev/vhost-net and cgroup v2. There is one for each clone of the repository.

options:
  --cpus N            processors (default 2)
  --memory MIB        memory (default 8192)
  --kernel NAME       Debian's kernel: ${KERNELS.join(", ")} (default 6.1)
  --qemu VERSION      QEMU for pods: ${QEMUS.join(", ")} (default: this machine's)
  --accel-opts OPTS   options of QEMU's accelerator, such as thread=single
  --exact-time        a clock that counts instructions, for measurements; implies --cpus 1
  --iommu             add an IOMMU and spare PCI devices
  --systemd           this machine's systemd as its init
  --fresh             boot the host instead of starting it from a snapshot`;

/** The hardware of the emulated host. */
export interface HostOptions {
  readonly cpus: number;
  readonly memoryMib: number;
  readonly kernel: KernelName;
  /** The QEMU that pods have; undefined for this machine's. */
  readonly qemu: QemuName | undefined;
  readonly accelOptions: string | undefined;
  readonly exactTime: boolean;
  readonly iommu: boolean;
  /** Whether systemd is the init; otherwise it has no other services than ssh. */
  readonly systemd: boolean;
  readonly fresh: boolean;
}

/** What the command line asks for. */
export type Command =
  | { readonly action: "help" | "reboot" | "down" | "shell" }
  | { readonly action: "up"; readonly host: HostOptions }
  | { readonly action: "run"; readonly argv: readonly string[] };

/** Parses the command line. Throws an Error that says what is wrong. */
export function parseCommand(args: readonly string[]): Command {
  const [action, ...rest] = args;
  if (action === "--help" || action === "-h") return { action: "help" };
  if (action === "run") {
    if (rest.length === 0) throw new Error("run needs a command");
    return { action, argv: rest };
  }
  if (action === "up") return { action, host: parseHost(rest) };
  if (action === undefined) throw new Error("a command is missing; see hack/lab --help");
  if (action !== "shell" && action !== "reboot" && action !== "down")
    throw new Error(`unknown command ${action}; see hack/lab --help`);
  if (rest.length > 0) throw new Error(`${action} has no arguments`);
  return { action };
}

function parseHost(args: readonly string[]): HostOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cpus: { type: "string" },
      memory: { type: "string", default: "8192" },
      kernel: { type: "string", default: "6.1" },
      qemu: { type: "string" },
      "accel-opts": { type: "string" },
      "exact-time": { type: "boolean", default: false },
      iommu: { type: "boolean", default: false },
      systemd: { type: "boolean", default: false },
      fresh: { type: "boolean", default: false },
    },
  });
  const exactTime = values["exact-time"];
  const cpus = whole("--cpus", values.cpus ?? (exactTime ? "1" : "2"));
  if (exactTime && cpus !== 1) throw new Error("--exact-time works with one processor only");
  const kernel = oneOf("--kernel", KERNELS, values.kernel);
  const qemu = values.qemu === undefined ? undefined : oneOf("--qemu", QEMUS, values.qemu);
  const memoryMib = whole("--memory", values.memory);
  if (memoryMib < 2048) throw new Error("--memory: the host needs at least 2048 MiB");
  const { iommu, systemd, fresh } = values;
  const accelOptions = values["accel-opts"];
  return { cpus, memoryMib, kernel, qemu, accelOptions, exactTime, iommu, systemd, fresh };
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${option}: ${text} is not a whole number above 0`);
  return value;
}

function oneOf<T extends string>(option: string, known: readonly T[], text: string): T {
  const found = known.find((name) => name === text);
  if (!found) throw new Error(`${option}: ${text} is not one of ${known.join(", ")}`);
  return found;
}
