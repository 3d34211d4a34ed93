import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { archive } from "../../hack/lib/guest-image/cpio.ts";
import { CC, run } from "../../hack/lib/run.ts";
import type { Vm, VmSpec } from "../../src/hypervisor/hypervisor.ts";
import { resolveAccel } from "../../src/hypervisor/qemu/accel.ts";
import { Qemu } from "../../src/hypervisor/qemu/driver.ts";
import { openVsockBackend, type VsockBackend } from "../../src/sandbox/boot/vsock-backend.ts";
import { MemoryLedger } from "./memory-ledger.ts";
import { within } from "./within.ts";

const dist = join(import.meta.dirname, "../../dist");
const QEMU = "/usr/bin/qemu-system-x86_64";
const KERNEL = join(dist, "guest/vmlinux");
const POD = "test/vsock";

/** Builds VMs whose init is vsock-peer.c, with KVM where it works. */
export class VsockGuests {
  readonly directory: string;
  readonly #accel: "kvm" | "tcg";

  private constructor(directory: string, accel: "kvm" | "tcg") {
    this.directory = directory;
    this.#accel = accel;
  }

  /** Builds the guest's initrd, and finds out whether KVM works. */
  static async prepare(): Promise<VsockGuests> {
    const directory = await mkdtemp(join(tmpdir(), "hull-vsock-guests-"));
    const peer = join(directory, "peer");
    run(CC, ["-O2", "-Wall", "-static", "-pthread", "-o", peer, join(import.meta.dirname, "vsock-peer.c")]);
    const added = archive([{ name: "vsock-peer", kind: "file", mode: 0o755, data: await readFile(peer) }]);
    await writeFile(
      join(directory, "initrd"),
      Buffer.concat([await readFile(join(dist, "guest/initrd.img")), added]),
    );
    const silent = () => undefined;
    const search = { path: QEMU, kernel: KERNEL, directory, warn: silent, info: silent };
    return new VsockGuests(directory, await resolveAccel(search, within(240_000, "KVM probe")));
  }

  /** Opens a backend as the configuration's `hypervisor.vsock` says. */
  async open(
    vsock: "auto" | "native" | "hybrid",
  ): Promise<Omit<VsockGuest, "vm"> & { readonly directory: string }> {
    const directory = await mkdtemp(join(this.directory, "vm-"));
    const ledger = new MemoryLedger();
    const daemon = process.env.HULL_VHOST_DEVICE_VSOCK ?? join(dist, "libexec/vhost-device-vsock");
    const backend = await openVsockBackend(
      {
        ...{ directory, pod: POD, installation: dist, hypervisor: { type: "qemu", vsock }, ledger },
        ...{ findDaemon: async () => daemon, log: () => undefined },
      },
      within(60_000, "open the backend"),
    );
    return { backend, ledger, directory };
  }

  /** Boots a VM with a backend of this kind; `token` is what the guest replies to `who`. */
  async boot(vsock: "native" | "hybrid", token: string): Promise<VsockGuest> {
    const { backend, ledger, directory } = await this.open(vsock);
    const spec: VmSpec = {
      ...{ name: POD, directory, path: QEMU, machine: "q35", accel: this.#accel },
      ...{ cpuModel: this.#accel === "kvm" ? "host" : "max", vcpus: 1, memoryMib: 192, netns: undefined },
      ...{ kernel: KERNEL, initrd: join(this.directory, "initrd"), vsock: backend.device },
      kernelParams: ["rdinit=/vsock-peer", `peer=${token}`],
      ...{ shares: [], nics: [], disks: [], extraArgs: [] },
    };
    const context = { deadline: within(120_000, "boot"), ledger, pod: POD, log: () => undefined };
    const vm = await new Qemu(dist).boot(spec, context);
    await backend.seal();
    return { backend, vm, ledger };
  }

  /** Removes the initrd and what the VMs have left in their directories. */
  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true });
  }
}

/** A VM with vsock-peer.c, and its backend. */
export interface VsockGuest {
  readonly backend: VsockBackend;
  readonly vm: Vm;
  readonly ledger: MemoryLedger;
}
