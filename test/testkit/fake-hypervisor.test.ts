import { FakeHypervisor, type FakeVm } from "./fake-hypervisor.ts";
import { hypervisorCompliance } from "./hypervisor-compliance.ts";

hypervisorCompliance("fake", async () => ({
  hypervisor: new FakeHypervisor(),
  spec: {
    name: "test/fake",
    directory: "/nonexistent",
    path: "/bin/true",
    machine: "q35",
    accel: "tcg",
    cpuModel: "max",
    vcpus: 1,
    memoryMib: 128,
    kernel: "/bin/true",
    initrd: "/bin/true",
    kernelParams: [],
    netns: undefined,
    vsock: { kind: "vhost-user", socket: "/nonexistent" },
    shares: [],
    nics: [],
    disks: [],
    extraArgs: [],
  },
  ready: async () => undefined,
  device: async () => ({ kind: "disk", path: "/dev/null", readOnly: true, serial: "x" }),
  kill: (vm) => (vm as FakeVm).die(),
  release: async () => undefined,
}));
