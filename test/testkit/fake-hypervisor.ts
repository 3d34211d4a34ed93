import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deferred } from "../../src/core/deferred.ts";
import { failedPrecondition, HullError, invalidArgument, unavailable } from "../../src/core/errors.ts";
import type {
  Hypervisor,
  Plugged,
  Vm,
  VmContext,
  VmExit,
  VmSpec,
  VmStatus,
} from "../../src/hypervisor/hypervisor.ts";

/** The guest agent's console line when it is ready. */
const READY_LINE = "hull-agent: info: ready after 1 ms, 2700 KiB resident\n";

/** A VM that runs nothing. `die` has the effect of a SIGKILL from outside. */
export class FakeVm implements Vm {
  readonly pid = process.pid;
  readonly #exit = deferred<VmExit>();
  readonly exited = this.#exit.promise;
  /** The calls, in order. */
  readonly calls: string[] = [];
  #ended: string | undefined;
  #plugged = 0;

  constructor(readonly spec: VmSpec) {}

  console(): string {
    return "fake guest up\n";
  }

  /** The result of `status`, which a test may replace. */
  state: VmStatus = { state: "running" };

  async status(): Promise<VmStatus> {
    this.#requireAlive("inspect");
    return this.state;
  }

  async pause(): Promise<void> {
    this.#call("pause");
    this.state = { state: "paused" };
  }

  async resume(): Promise<void> {
    this.#call("resume");
    this.state = { state: "running" };
  }

  async plug(device: { kind: string }): Promise<Plugged> {
    this.#call("plug", device.kind);
    let gone = false;
    const slot = (++this.#plugged).toString(16).padStart(2, "0");
    return {
      unplug: async () => {
        if (!gone) this.calls.push(`unplug ${device.kind}`);
        gone = true;
      },
      pciPath: async () => `${slot}.0/00.0`,
    };
  }

  async addVcpu(): Promise<void> {
    this.#grow("addVcpu");
  }

  async addMemory(mib: number): Promise<void> {
    this.#grow("addMemory", String(mib));
  }

  /** Creates two files, as real VMMs do. */
  async snapshot(directory: string): Promise<void> {
    this.#call("snapshot");
    await writeFile(join(directory, "state"), `${this.spec.memoryMib} MiB`);
    await writeFile(join(directory, "memory"), Buffer.alloc(4096));
  }

  async stop(): Promise<void> {
    this.#end("fake was stopped", true);
  }

  die(reason = "fake was killed by SIGKILL"): void {
    this.#end(reason, false);
  }

  #call(verb: string, what = ""): void {
    this.#requireAlive(verb);
    this.calls.push(`${verb} ${what}`.trim());
  }

  #requireAlive(verb: string): void {
    if (this.#ended) throw failedPrecondition(`cannot ${verb} VM ${this.spec.name}: ${this.#ended}`);
  }

  #grow(verb: string, what = ""): void {
    this.#call(verb, what);
    if (!this.spec.growth) throw failedPrecondition(`VM ${this.spec.name}: it was started with a fixed size`);
  }

  #end(reason: string, requested: boolean): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#exit.resolve({ reason, requested, console: this.console(), stderr: "" });
  }
}

/** A driver without a VMM. Refuses what real ones refuse. */
export class FakeHypervisor implements Hypervisor {
  readonly type = "fake";
  readonly vms: FakeVm[] = [];

  async boot(spec: VmSpec, context: VmContext): Promise<FakeVm> {
    context.deadline.check();
    for (const what of ["kernel", "initrd"] as const) {
      await access(spec[what]).catch(() => {
        throw failedPrecondition(
          `VM ${spec.name}: boot: the guest's ${what} ${spec[what]} cannot be read; set hypervisor.${what}`,
        );
      });
    }
    if (spec.memoryMib < 32) {
      throw invalidArgument(
        `VM ${spec.name}: ${spec.memoryMib} MiB is too little; set hypervisor.default_memory`,
      );
    }
    for (const path of [spec.path, spec.netns ?? "/"]) {
      await access(path).catch(() => {
        throw failedPrecondition(`fake: ${path} does not exist or is not executable`);
      });
    }
    if (spec.extraArgs.length > 0)
      throw unavailable(`VM ${spec.name}: boot: ${spec.extraArgs[0]}: invalid option`);
    const vm = new FakeVm(spec);
    this.vms.push(vm);
    context.onConsole?.(Buffer.from(`${vm.console()}${READY_LINE}`));
    return vm;
  }

  async restore(template: string, spec: VmSpec, context: VmContext): Promise<FakeVm> {
    context.deadline.check();
    const state = await readFile(join(template, "state"), "utf8").catch((error: unknown) => {
      throw HullError.ofCallersPath(`VM ${spec.name}: restore`, error);
    });
    if (state !== `${spec.memoryMib} MiB`) {
      throw failedPrecondition(`VM ${spec.name}: restore: the template has ${state}`);
    }
    const vm = new FakeVm(spec);
    vm.calls.push("restore");
    this.vms.push(vm);
    return vm;
  }
}
