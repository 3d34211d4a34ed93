import { boolean, choice, choiceOrAfter, duration, integer, list, section } from "../key.ts";

const since = "0.1.0";

/** What the shim does on the host around the virtual machine. */
export const runtime = section("What the runtime does on the host, around the virtual machine.", {
  log_level: choice({
    about:
      "The least severe messages that reach containerd's log. Unset, containerd's level applies; containerd's --debug overrides a less verbose level set here.",
    choices: ["trace", "debug", "info", "warn", "error"],
    default: "info",
    since,
    annotation: true,
  }),
  sigterm_escalation: choiceOrAfter({
    about:
      "What follows a SIGTERM to a process. unhandled: SIGKILL at once where the process neither handles, blocks nor ignores SIGTERM (a shell as the first process). {after: 10s}: SIGKILL if it still lives then. immediate: SIGKILL right behind it. never: nothing.",
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
      "The longest that creating a container may take, including the boot of its pod. A shorter limit from containerd applies.",
    min: 1_000,
    max: 3_600_000,
    default: 120_000,
    since,
    annotation: true,
  }),
  kill_timeout: duration({
    about:
      "How long the guest may take to carry out a SIGKILL. If it has not answered by then, the virtual machine is ended, and with it every container of the pod. If it has answered but the container is still alive, the virtual machine is ended too where the container has no pod, its start is still unanswered, or one of the virtual machine's processes on the host is stopped; otherwise when SIGKILL is sent again. A deletion of what has ended fails if the guest answers nothing for this long.",
    min: 100,
    max: 600_000,
    default: 5_000,
    since,
    annotation: true,
  }),
  health_interval: duration({
    about:
      "How often a pod's monitor and guest agent are asked whether they still answer, give or take a quarter; 0s means never. One that misses two questions in a row (the second is asked at once) is reported in the log and as an event with the topic /hull/health, and so is its recovery.",
    min: 0,
    max: 3_600_000,
    default: 30_000,
    since,
    annotation: true,
  }),
  health_timeout: duration({
    about:
      "How long the monitor and the guest agent may take to answer. A guest under load may need seconds, and more on a busy host.",
    min: 100,
    max: 3_600_000,
    default: 30_000,
    since,
    annotation: true,
  }),
  health_action: choice({
    about:
      "What follows when the guest agent has missed two questions in a row: report only reports it, kill also ends the virtual machine, whose containers exit with status 137. A monitor that alone does not answer is only reported.",
    choices: ["report", "kill"],
    default: "report",
    since,
    annotation: true,
  }),
  internetworking_model: choice({
    about:
      "How the pod's network interfaces reach the guest: tcfilter mirrors each one to a tap, macvtap (QEMU only) lays a macvtap over it, none leaves the guest without.",
    choices: ["tcfilter", "macvtap", "none"],
    default: "tcfilter",
    since,
    annotation: true,
  }),
  sandbox_cgroup_only: boolean({
    about:
      "Put the monitor, all its helpers and the shim into the pod's cgroup, so that they count for the pod and its limits hold for them. false leaves them where containerd is.",
    default: true,
    since,
  }),
  static_sandbox_resource_mgmt: boolean({
    about:
      "Size the virtual machine once, from the pod's limits. false: it is booted with that size and grows, by CPUs and memory that are plugged in, with the limits of the containers that come and are updated; it does not shrink.",
    default: true,
    since,
    annotation: true,
  }),
  sandbox_overhead_memory: integer({
    about:
      "Memory that the monitor, its helpers and the shim may take on the host besides the guest's: with it a virtual machine has to fit the limit of the pod's cgroup.",
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
      "The values that annotations may give to keys that hold a path: absolute patterns where * stands for anything but a slash.",
    item: "path pattern",
    pattern: /^\/[^\0]*$/,
    rule: "must be an absolute path (* stands for anything but a slash)",
    default: [],
    since,
    example: "[/usr/lib/hull/kernels/*]",
  }),
});

/** How containerd is served. */
export const shim = section("How containerd is served.", {
  protocol: choice({
    about:
      "The protocol spoken with containerd. grpc works with containerd 1.7; 2.0 to 2.4 take every gRPC shim for dead.",
    choices: ["ttrpc", "grpc"],
    default: "ttrpc",
    since,
  }),
});

/** What can be measured from outside. */
export const metrics = section("Metrics of the pods, in Prometheus' text format.", {
  enable: boolean({
    about: "Serve metrics on the pod's management socket.",
    default: false,
    since,
    planned: true,
  }),
});
