import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Deadline } from "../../src/core/deadline.ts";
import type { VmContext, VmSpec } from "../../src/hypervisor/hypervisor.ts";
import { dialUntilReady } from "./dial-until-ready.ts";
import { fakeCloudHypervisor, type Script } from "./fake-cloud-hypervisor.ts";
import { MemoryLedger } from "./memory-ledger.ts";

/** The guest agent's vsock port. */
const AGENT_PORT = 1024;

/** A directory with all that a VM on a fake Cloud Hypervisor needs; `dispose` removes it. */
export interface FakeMachine {
  readonly directory: string;
  readonly spec: VmSpec;
  readonly ledger: MemoryLedger;
  /** The debug lines so far. */
  readonly lines: { readonly message: string; readonly fields?: Record<string, unknown> | undefined }[];
  context(ms?: number): VmContext;
  dispose(): void;
}

/** Creates the files of a VM whose VMM behaves as `script` says. */
export function fakeMachine(script: Script = {}, change: Partial<VmSpec> = {}): FakeMachine {
  const directory = mkdtempSync(join(tmpdir(), "hull-clh-"));
  // Must be readable for every user, since it reads its own files by their paths.
  const programs = mkdtempSync(join(tmpdir(), "hull-clh-program-"));
  chmodSync(programs, 0o755);
  const ledger = new MemoryLedger();
  const lines: FakeMachine["lines"] = [];
  const deadlines: Deadline[] = [];
  const kernel = join(directory, "guest/vmlinux");
  const initrd = join(directory, "guest/initrd.img");
  mkdirSync(join(directory, "guest"), { mode: 0o755 });
  writeFileSync(kernel, "kernel");
  writeFileSync(initrd, "initrd");
  const vm = join(directory, "vm");
  mkdirSync(vm, { mode: 0o700 });
  const spec: VmSpec = {
    name: "pod1",
    directory: vm,
    path: fakeCloudHypervisor(programs, script),
    machine: "q35",
    accel: "kvm",
    cpuModel: "host",
    vcpus: 1,
    memoryMib: 128,
    kernel,
    initrd,
    kernelParams: ["quiet"],
    netns: undefined,
    vsock: { kind: "hybrid", cid: 3, socket: join(vm, "vsock.sock") },
    shares: [],
    nics: [],
    disks: [],
    extraArgs: [],
    ...change,
  };
  return {
    directory,
    spec,
    ledger,
    lines,
    context: (ms = 10_000) => {
      const deadline = Deadline.after(ms, "boot");
      deadlines.push(deadline);
      return {
        deadline,
        ledger,
        pod: `test/clh-${process.pid}`,
        log: (message, fields) => lines.push({ message, fields }),
      };
    },
    dispose: () => {
      for (const deadline of deadlines) deadline.dispose();
      for (const made of [directory, programs]) rmSync(made, { recursive: true, force: true });
    },
  };
}

/** Resolves when the agent of a VM with a real guest answers on its vsock. */
export async function guestAnswers({ spec }: FakeMachine): Promise<void> {
  if (spec.vsock?.kind !== "hybrid") throw new Error("the machine has no hybrid vsock device");
  const deadline = Deadline.after(60_000, "the guest agent");
  try {
    const socket = await dialUntilReady(spec.vsock.socket, AGENT_PORT, deadline);
    socket.destroy();
  } finally {
    deadline.dispose();
  }
}
