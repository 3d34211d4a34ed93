import assert from "node:assert/strict";
import { test } from "node:test";
import { parseText } from "../parse/parse-text.ts";
import { layerOf } from "../result/layer.ts";
import { LoadedConfig } from "../result/loaded-config.ts";
import { ConfigError } from "../schema/problem.ts";
import { importKata } from "./import.ts";

const KATA = `
# a node's configuration, as an operator left it
[hypervisor.qemu]
path = "/opt/kata/bin/qemu-system-x86_64"
kernel = "/opt/kata/share/kata-containers/vmlinux.container"
image = "/opt/kata/share/kata-containers/kata-containers.img"
machine_type = "q35"
enable_annotations = ["default_memory", "kernel_params", "enable_iothreads", "shared_fs"]
valid_hypervisor_paths = ["/opt/kata/bin/qemu-*"]
kernel_params = "quiet agent.log=debug systemd.unit=kata.target loglevel=3"
cpu_features = "pmu=off"
default_vcpus = 2
default_maxvcpus = 0
default_bridges = 1
default_memory = 2048
memory_slots = 4
shared_fs = "virtio-fs"
virtio_fs_daemon = "/opt/kata/libexec/virtiofsd"
virtio_fs_cache = "none"
virtio_fs_cache_size = 0
virtio_fs_extra_args = ["--thread-pool-size=1", "--announce-submounts"]
enable_hugepages = true
enable_iothreads = false
entropy_source = "/dev/urandom"

[factory]
enable_template = false

[agent.kata]
enable_debug = true
dial_timeout = 45
kernel_modules = []

[runtime]
internetworking_model = "tcfilter"
disable_guest_seccomp = true
sandbox_cgroup_only = false
create_container_timeout = 90
static_sandbox_resource_mgmt = false
experimental = []
`;

const EXPECTED = `# Imported from configuration.toml. Values equal to hull's defaults are left out.
version: 1
hypervisor:
  type: qemu
  path: /opt/kata/bin/qemu-system-x86_64
  kernel_params: [quiet, "loglevel=3"]
  cpu_features: ["-pmu"]
  default_vcpus: 2
  default_memory: 2048
  memory_slots: 4
  enable_hugepages: true
  virtio_fs_daemon: /opt/kata/libexec/virtiofsd
  virtio_fs_cache: never
  virtio_fs_extra_args: ["--thread-pool-size=1", "--announce-submounts"]
  template:
    enable: false
agent:
  boot_timeout: 45s
runtime:
  log_level: debug
  create_container_timeout: 90s
  sandbox_cgroup_only: false
  static_sandbox_resource_mgmt: false
  enable_annotations: [hypervisor.default_memory, hypervisor.kernel_params, hypervisor.enable_iothreads]
  annotation_paths: ["/opt/kata/bin/qemu-*"]

# Not carried over:
#   hypervisor.qemu.kernel: hull boots its own guest: a kernel and an initrd that contains hull-agent
#   hypervisor.qemu.image: hull boots its own guest: a kernel and an initrd that contains hull-agent
#   hypervisor.qemu.enable_annotations: shared_fs: no key that an annotation can set
#   hypervisor.qemu.default_bridges: hull has one bridge with 31 slots
#   hypervisor.qemu.shared_fs: hull shares files over virtio-fs
#   hypervisor.qemu.virtio_fs_cache_size: no counterpart
#   agent.kata.kernel_modules: hull boots its own guest: a kernel and an initrd that contains hull-agent
#   runtime.disable_guest_seccomp: runtime.disable_guest_seccomp is not implemented yet
#   runtime.experimental: no counterpart
`;

test("a Kata configuration is converted, and what cannot be is listed", async () => {
  const { yaml, dropped } = importKata(KATA, "configuration.toml");
  assert.equal(yaml, EXPECTED);
  assert.equal(dropped.length, 9);
  const origin = { kind: "file", source: "imported", directory: "/etc/hull" } as const;
  const { config } = LoadedConfig.of(
    [layerOf(await parseText({ ...origin, text: yaml }), origin)],
    [],
    "/opt/hull",
  );
  assert.equal(config.agent.boot_timeout, 45_000);
});

test("the table of an unsupported hypervisor is listed, and nothing in it is converted", () => {
  const { yaml, dropped } = importKata(
    "[hypervisor.firecracker]\npath = '/usr/bin/firecracker'\ndefault_vcpus = 8\n",
    "c",
  );
  assert.deepEqual(dropped, [
    { key: "[hypervisor.firecracker]", why: "hull does not support this hypervisor" },
  ]);
  assert.doesNotMatch(yaml, /default_vcpus|path:/);
});

test("virtual machines that grow are left out for Cloud Hypervisor, which does not support them", () => {
  const { yaml, dropped } = importKata(
    "[runtime]\nstatic_sandbox_resource_mgmt = false\n[hypervisor.clh]\ndefault_vcpus = 2\n",
    "c",
  );
  assert.match(yaml, /type: cloud-hypervisor/);
  assert.deepEqual(
    dropped.map(({ key }) => key),
    ["runtime.static_sandbox_resource_mgmt"],
  );
});

test("values of the wrong type are listed, not thrown", () => {
  const toml =
    "[hypervisor.qemu]\nkernel_params = 7\ndefault_vcpus = 'two'\ncpu_features = []\nenable_annotations = 3\npath = false\n";
  const { dropped } = importKata(toml, "c");
  assert.deepEqual(dropped.map(({ key }) => key).sort(), [
    "hypervisor.qemu.default_vcpus",
    "hypervisor.qemu.path",
  ]);
});

test("a file that is not TOML is refused with its name", () => {
  assert.throws(
    () => importKata("[hypervisor", "c.toml"),
    (thrown) =>
      thrown instanceof ConfigError && /^configuration refused: c\.toml: not TOML: /.test(thrown.message),
  );
});
