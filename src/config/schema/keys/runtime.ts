import { boolean, choice, choiceOrAfter, duration, integer, list, section } from "../key.ts";

const since = "0.1.0";

/** What the shim does on the host around the virtual machine. */
export const runtime = section("What the runtime does on the host, around the virtual machine.", {
  log_level: choice({
    about:
      "The least severe level that is logged to containerd's log. If unset, containerd's level applies; containerd's --debug overrides a less verbose level set here.",
    choices: ["trace", "debug", "info", "warn", "error"],
    default: "info",
    since,
    annotation: true,
  }),
  sigterm_escalation: choiceOrAfter({
    about:
      "What follows a SIGTERM to a process. unhandled: SIGKILL at once if the process neither handles, blocks nor ignores SIGTERM (a shell as the init process, for example). {after: 10s}: SIGKILL if it is still alive then. immediate: SIGKILL right after it. never: no SIGKILL.",
    choices: ["unhandled", "immediate", "never"],
    min: 100,
    max: 3_600_000,
    default: "unhandled",
    since,
    annotation: true,
    example: "{after: 10s}",
  }),
  create_container_timeout: duration({
    about:
      "The timeout for creating a container, including the boot of its pod. A shorter timeout from containerd takes precedence.",
    min: 1_000,
    max: 3_600_000,
    default: 120_000,
    since,
    annotation: true,
  }),
  kill_timeout: duration({
    about:
      "How long the guest may take to carry out a SIGKILL. If it has not answered by then, the virtual machine is killed, and every container of the pod with it. If it has answered but the container is still alive, the virtual machine is killed too if the container has no pod, its start is still pending, or one of the virtual machine's processes on the host is stopped; otherwise when SIGKILL is sent again. Deleting a stopped container or exec fails if the guest does not answer for this long.",
    min: 100,
    max: 600_000,
    default: 5_000,
    since,
    annotation: true,
  }),
  health_interval: duration({
    about:
      "How often a pod's VMM and guest agent are probed, plus or minus a quarter; 0s means never. A component that fails two probes in a row (the second follows at once) is reported in the log and as an event with the topic /hull/health, and so is its recovery.",
    min: 0,
    max: 3_600_000,
    default: 30_000,
    since,
    annotation: true,
  }),
  health_timeout: duration({
    about:
      "How long the VMM and the guest agent may take to answer a probe. A guest under load may need seconds, and more on a busy host.",
    min: 100,
    max: 3_600_000,
    default: 30_000,
    since,
    annotation: true,
  }),
  health_action: choice({
    about:
      "What to do when the guest agent has failed two probes in a row: report only reports it, kill also kills the virtual machine, whose containers exit with status 137. If only the VMM does not answer, it is only reported.",
    choices: ["report", "kill"],
    default: "report",
    since,
    annotation: true,
  }),
  internetworking_model: choice({
    about:
      "How the pod's network interfaces are connected to the guest: tcfilter redirects each one to a tap, macvtap (QEMU only) creates a macvtap over it, none leaves the guest without a network.",
    choices: ["tcfilter", "macvtap", "none"],
    default: "tcfilter",
    since,
    annotation: true,
  }),
  vfio_mode: choice({
    about:
      "Who drives assigned PCI devices: with guest-kernel, drivers of the guest's kernel; with vfio, the container itself, through /dev/vfio/N of the guest.",
    choices: ["guest-kernel", "vfio"],
    default: "guest-kernel",
    since,
    annotation: true,
    planned: true,
  }),
  physical_nics: choice({
    about:
      "How a physical network adapter, or a virtual function of one, that CNI has moved into the pod's network namespace is connected to the guest: assign gives the device itself to the VM (VFIO), tap treats its interface like any other.",
    choices: ["assign", "tap"],
    default: "tap",
    since,
    annotation: true,
  }),
  sandbox_cgroup_only: boolean({
    about:
      "Move the VMM, its helpers and the shim into the pod's cgroup, so that they are charged to the pod and its limits apply to them. false leaves them in containerd's cgroup.",
    default: true,
    since,
  }),
  static_sandbox_resource_mgmt: boolean({
    about:
      "Size the virtual machine once, from the pod's limits. false: it is booted with that size and grows, by hot-plugged CPUs and memory, with the limits of containers that are created or updated; it does not shrink.",
    default: true,
    since,
    annotation: true,
  }),
  sandbox_overhead_memory: integer({
    about:
      "Memory that the VMM, its helpers and the shim may use on the host in addition to the guest's: the virtual machine plus this must fit into the limit of the pod's cgroup.",
    unit: "MiB",
    min: 0,
    max: 65_536,
    default: 96,
    since,
  }),
  disable_guest_seccomp: boolean({
    about: "Run containers in the guest without their seccomp profiles.",
    default: false,
    since,
    annotation: true,
    planned: true,
  }),
  enable_annotations: list({
    about:
      "The keys that pods may set by annotation io.hull.config.<key>: full key names, or patterns with * (hypervisor.default_*).",
    item: "key pattern",
    pattern: /^[a-z*][a-z0-9_.*]*$/,
    rule: "must be a key such as hypervisor.default_memory, or a pattern such as hypervisor.default_*",
    default: [],
    since,
    example: "[hypervisor.default_vcpus, hypervisor.default_memory]",
  }),
  annotation_paths: list({
    about:
      "The values that annotations may set for keys that take a path: absolute patterns in which * matches anything but a slash.",
    item: "path pattern",
    pattern: /^\/[^\0]*$/,
    rule: "must be an absolute path (* matches anything but a slash)",
    default: [],
    since,
    example: "[/usr/lib/hull/kernels/*]",
  }),
});

/** How containerd is served. */
export const shim = section("How containerd is served.", {
  protocol: choice({
    about:
      "The protocol spoken with containerd. grpc works with containerd 1.7; 2.0 to 2.4 treat every gRPC shim as crashed.",
    choices: ["ttrpc", "grpc"],
    default: "ttrpc",
    since,
  }),
});

/** The pods' metrics. */
export const metrics = section("Metrics of the pods, in the Prometheus text format.", {
  enable: boolean({
    about: "Serve metrics on the pod's management socket.",
    default: false,
    since,
    planned: true,
  }),
});
