/** What is refused in a file, and with which words: the file's text, and the whole message behind its prefix. */
export const REFUSED_FILES: readonly (readonly [text: string, message: string])[] = [
  ["", 'config.yaml: version: the file is empty; begin it with "version: 1"'],
  ["# nothing\n", 'config.yaml: version: the file is empty; begin it with "version: 1"'],
  [
    "hello",
    'config.yaml: version: the document must be a mapping of keys to values, not "hello"; begin it with "version: 1"',
  ],
  [
    "- version: 1",
    'config.yaml: version: the document must be a mapping of keys to values, not [{"version":1}]; begin it with "version: 1"',
  ],
  [
    "42",
    'config.yaml: version: the document must be a mapping of keys to values, not 42; begin it with "version: 1"',
  ],
  ["version:", 'config.yaml:1:1: version: must be 1, not null; write "version: 1"'],
  ["version: '1'", 'config.yaml:1:1: version: must be 1, not "1"; write "version: 1"'],
  [
    "version: 2",
    "config.yaml:1:1: version: version 2 is newer than this hull knows; it reads version 1: update hull",
  ],
  ["version: 0", 'config.yaml:1:1: version: must be 1, not 0; write "version: 1"'],
  ["version: 1.5", 'config.yaml:1:1: version: must be 1, not 1.5; write "version: 1"'],
  ["version: [1]", 'config.yaml:1:1: version: must be 1, not [1]; write "version: 1"'],
  ["hypervisor: {type: qemu}", 'config.yaml: version: is missing; begin the file with "version: 1"'],
  ["version: 1\nversion: 1\n", "config.yaml:2:1: the key is given twice; keep one of them"],
  [
    "version: 1\n---\nversion: 1\n",
    "config.yaml:2:1: a second document begins here; keep one document per file",
  ],
  [
    "version: 1\nhypervisor: {type: qemu\n",
    "config.yaml:3:1: not YAML: Flow map in block collection must be sufficiently indented and end with a }",
  ],
  ["version: 1\n\thypervisor: {}\n", "config.yaml:2:1: not YAML: Tabs are not allowed as indentation"],
  ["version: 1\nhypervisor:\n  type: 'qemu\n", "config.yaml:4:1: not YAML: Missing closing 'quote"],
  ["version: 1\nhypervisor: &h\n  type: qemu\n", "config.yaml:3:3: anchor &h is not allowed; leave it out"],
  ["version: 1\nagent: *h\n", "config.yaml:2:8: alias *h is not allowed; write the value out"],
  [
    "version: 1\nhypervisor: !!map {type: !secret qemu}\n",
    "config.yaml:2:26: not YAML: Unresolved tag: !secret",
  ],
  ["version: 1\n? [a]\n: b\n", "config.yaml:2:3: a key must be plain text"],
  ["version: 1\n1: 2\n", "config.yaml:2:1: a key must be plain text"],
  ["version: 1\n~: 2\n", "config.yaml:2:1: a key must be plain text"],
  [
    "version: 1\nhypervisor:\n  type: qemu\n  type: qemu\n",
    "config.yaml:4:3: the key is given twice; keep one of them",
  ],
  [
    "version: 1\na: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    "config.yaml:2:20: nested more than 16 levels deep",
  ],
  [
    "version: 1\nhypervisor: {<<: {type: qemu}}\n",
    'config.yaml:2:14: unknown key "hypervisor.<<"; "hull config default" lists all keys',
  ],
  [
    "version: 1\n__proto__: {type: qemu}\n",
    'config.yaml:2:1: unknown key "__proto__"; the sections are hypervisor, agent, runtime, shim, metrics',
  ],
  [
    "version: 1\nconstructor: 1\n",
    'config.yaml:2:1: unknown key "constructor"; the sections are hypervisor, agent, runtime, shim, metrics',
  ],
  ["version: 1\nhypervisr: {}\n", 'config.yaml:2:1: unknown key "hypervisr"; did you mean hypervisor?'],
  ["version: 1\nHypervisor: {}\n", 'config.yaml:2:1: unknown key "Hypervisor"; did you mean hypervisor?'],
  [
    "version: 1\nqemu: {}\n",
    'config.yaml:2:1: unknown key "qemu"; the sections are hypervisor, agent, runtime, shim, metrics',
  ],
  [
    "version: 1\ndefault_memory: 512\n",
    'config.yaml:2:1: unknown key "default_memory"; did you mean hypervisor.default_memory?',
  ],
  ["version: 1\nverson: 1\n", 'config.yaml:2:1: unknown key "verson"; did you mean version?'],
  [
    "version: 1\nhypervisor: {defualt_memory: 512}\n",
    'config.yaml:2:14: unknown key "hypervisor.defualt_memory"; did you mean hypervisor.default_memory?',
  ],
  [
    "version: 1\nhypervisor: {kernelParams: []}\n",
    'config.yaml:2:14: unknown key "hypervisor.kernelParams"; did you mean hypervisor.kernel?',
  ],
  [
    "version: 1\nhypervisor: {image: a.img}\n",
    'config.yaml:2:14: unknown key "hypervisor.image"; "hull config default" lists all keys',
  ],
  [
    "version: 1\nhypervisor: {boot_timeout: 10s}\n",
    'config.yaml:2:14: unknown key "hypervisor.boot_timeout"; did you mean agent.boot_timeout?',
  ],
  [
    "version: 1\nhypervisor: {template: {enabled: true}}\n",
    'config.yaml:2:25: unknown key "hypervisor.template.enabled"; did you mean hypervisor.template.enable?',
  ],
  [
    "version: 1\nhypervisor: {template: {zzz: true}}\n",
    'config.yaml:2:25: unknown key "hypervisor.template.zzz"; "hull config default" lists all keys',
  ],
  [
    "version: 1\nruntime: {sigterm: never}\n",
    'config.yaml:2:11: unknown key "runtime.sigterm"; did you mean runtime.sigterm_escalation?',
  ],
  [
    "version: 1\nagent: {dial_timout: 1s}\n",
    'config.yaml:2:9: unknown key "agent.dial_timout"; did you mean agent.dial_timeout?',
  ],
  [
    "version: 1\nshim: {protokol: grpc}\n",
    'config.yaml:2:8: unknown key "shim.protokol"; did you mean shim.protocol?',
  ],
  [
    "version: 1\nruntime: {x: 1, y: 2}\n",
    'config.yaml:2:11: unknown key "runtime.x"; "hull config default" lists all keys\nconfig.yaml:2:17: unknown key "runtime.y"; "hull config default" lists all keys',
  ],
  [
    "version: 1\nhypervisor.default_memory: 512\n",
    'config.yaml:2:1: unknown key "hypervisor.default_memory"; write it in its section: hypervisor: {default_memory: ...}',
  ],
  [
    "version: 1\nhypervisor: qemu\n",
    'config.yaml:2:1: hypervisor: must be a mapping of keys to values, not "qemu"',
  ],
  ["version: 1\nagent: []\n", "config.yaml:2:1: agent: must be a mapping of keys to values, not []"],
  ["version: 1\nruntime: 1\n", "config.yaml:2:1: runtime: must be a mapping of keys to values, not 1"],
  [
    "version: 1\nhypervisor: {template: true}\n",
    "config.yaml:2:14: hypervisor.template: must be a mapping of keys to values, not true",
  ],
  [
    "version: 1\nhypervisor: {type: }\n",
    "config.yaml:2:14: hypervisor.type: has no value; give it one or delete the line",
  ],
  [
    "version: 1\nhypervisor:\n  default_memory:\n",
    "config.yaml:3:3: hypervisor.default_memory: has no value; give it one or delete the line",
  ],
  [
    "version: 1\nhypervisor: {kernel: ~}\n",
    "config.yaml:2:14: hypervisor.kernel: has no value; give it one or delete the line",
  ],
  [
    "version: 1\nhypervisor: {type: qemuu}\n",
    'config.yaml:2:14: hypervisor.type: must be one of qemu, cloud-hypervisor, not "qemuu"; did you mean qemu?',
  ],
  [
    "version: 1\nhypervisor: {type: QEMU}\n",
    'config.yaml:2:14: hypervisor.type: must be one of qemu, cloud-hypervisor, not "QEMU"; did you mean qemu?',
  ],
  [
    "version: 1\nhypervisor: {type: firecracker}\n",
    'config.yaml:2:14: hypervisor.type: must be one of qemu, cloud-hypervisor, not "firecracker"',
  ],
  [
    "version: 1\nhypervisor: {type: 1}\n",
    "config.yaml:2:14: hypervisor.type: must be one of qemu, cloud-hypervisor, not 1",
  ],
  [
    "version: 1\nhypervisor: {machine_type: microvm}\n",
    "config.yaml:2:14: hypervisor.machine_type: a microvm takes no devices after its start, and a clone of a template gets all of its own that way; set hypervisor.template.enable: false, or choose q35",
  ],
  [
    "version: 1\nhypervisor: {machine_type: pc}\n",
    'config.yaml:2:14: hypervisor.machine_type: must be one of q35, microvm, not "pc"',
  ],
  [
    "version: 1\nhypervisor: {accel: xen}\n",
    'config.yaml:2:14: hypervisor.accel: must be one of auto, kvm, tcg, not "xen"',
  ],
  [
    "version: 1\nhypervisor: {accel: true}\n",
    "config.yaml:2:14: hypervisor.accel: must be one of auto, kvm, tcg, not true",
  ],
  [
    "version: 1\nhypervisor: {type: cloud-hypervisor, vsock: native}\n",
    "config.yaml:2:38: hypervisor.vsock: cloud-hypervisor has a vsock device of its own and takes none of the kernel's; choose auto or hybrid, or hypervisor.type: qemu",
  ],
  [
    "version: 1\nhypervisor: {vsock: hybird}\n",
    'config.yaml:2:14: hypervisor.vsock: must be one of auto, hybrid, native, not "hybird"; did you mean hybrid?',
  ],
  [
    "version: 1\nhypervisor: {virtio_fs_cache: none}\n",
    'config.yaml:2:14: hypervisor.virtio_fs_cache: must be one of never, auto, always, not "none"',
  ],
  [
    "version: 1\nshim: {protocol: http}\n",
    'config.yaml:2:8: shim.protocol: must be one of ttrpc, grpc, not "http"',
  ],
  [
    "version: 1\nruntime: {log_level: verbose}\n",
    'config.yaml:2:11: runtime.log_level: must be one of trace, debug, info, warn, error, not "verbose"',
  ],
  [
    "version: 1\nruntime: {log_level: warning}\n",
    'config.yaml:2:11: runtime.log_level: must be one of trace, debug, info, warn, error, not "warning"; did you mean warn?',
  ],
  [
    "version: 1\nhypervisor: {type: cloud-hypervisor}\nruntime: {internetworking_model: macvtap}\n",
    "config.yaml:3:11: runtime.internetworking_model: macvtap is for qemu: cloud-hypervisor opens taps by their names; choose tcfilter, or hypervisor.type: qemu",
  ],
  [
    "version: 1\nhypervisor: {default_memory: 2Gi}\n",
    'config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not "2Gi"; write 2048',
  ],
  [
    "version: 1\nhypervisor: {default_memory: 512M}\n",
    'config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not "512M"; write 512',
  ],
  [
    "version: 1\nhypervisor: {default_memory: '512'}\n",
    'config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not "512"; write 512, without quotes',
  ],
  [
    "version: 1\nhypervisor: {default_memory: 63}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not 63",
  ],
  [
    "version: 1\nhypervisor: {default_memory: 1048577}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not 1048577",
  ],
  [
    "version: 1\nhypervisor: {default_memory: 256.5}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not 256.5",
  ],
  [
    "version: 1\nhypervisor: {default_memory: -1}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not -1",
  ],
  [
    "version: 1\nhypervisor: {default_memory: .inf}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not Infinity",
  ],
  [
    "version: 1\nhypervisor: {default_memory: .nan}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not NaN",
  ],
  [
    "version: 1\nhypervisor: {default_memory: 99999999999999999999}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not 100000000000000000000",
  ],
  [
    "version: 1\nhypervisor: {default_memory: [256]}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not [256]",
  ],
  [
    "version: 1\nhypervisor: {default_memory: true}\n",
    "config.yaml:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not true",
  ],
  [
    "version: 1\nhypervisor: {default_vcpus: 0}\n",
    "config.yaml:2:14: hypervisor.default_vcpus: must be a whole number of vCPUs from 1 to 240, not 0",
  ],
  [
    "version: 1\nhypervisor: {default_vcpus: 241}\n",
    "config.yaml:2:14: hypervisor.default_vcpus: must be a whole number of vCPUs from 1 to 240, not 241",
  ],
  [
    "version: 1\nhypervisor: {default_vcpus: two}\n",
    'config.yaml:2:14: hypervisor.default_vcpus: must be a whole number of vCPUs from 1 to 240, not "two"',
  ],
  [
    "version: 1\nhypervisor: {default_vcpus: {min: 1}}\n",
    'config.yaml:2:14: hypervisor.default_vcpus: must be a whole number of vCPUs from 1 to 240, not {"min":1}',
  ],
  [
    "version: 1\nhypervisor: {memory_slots: 0}\n",
    "config.yaml:2:14: hypervisor.memory_slots: must be a whole number of slots from 1 to 255, not 0",
  ],
  [
    "version: 1\nhypervisor: {minimum_memory: 512, default_maxmemory: 256}\n",
    "config.yaml:2:14: hypervisor.minimum_memory: 512 MiB is more than hypervisor.default_maxmemory (256 MiB); lower it, or raise the other",
  ],
  [
    "version: 1\nhypervisor: {default_maxvcpus: 300}\n",
    "config.yaml:2:14: hypervisor.default_maxvcpus: must be a whole number of vCPUs from 0 to 240, not 300",
  ],
  [
    "version: 1\nhypervisor: {enable_hugepages: yes}\n",
    'config.yaml:2:14: hypervisor.enable_hugepages: must be true or false, not "yes"; write true',
  ],
  [
    "version: 1\nhypervisor: {enable_hugepages: off}\n",
    'config.yaml:2:14: hypervisor.enable_hugepages: must be true or false, not "off"; write false',
  ],
  [
    "version: 1\nhypervisor: {enable_hugepages: 1}\n",
    "config.yaml:2:14: hypervisor.enable_hugepages: must be true or false, not 1; write true",
  ],
  [
    "version: 1\nhypervisor: {enable_hugepages: maybe}\n",
    'config.yaml:2:14: hypervisor.enable_hugepages: must be true or false, not "maybe"',
  ],
  [
    "version: 1\nhypervisor: {rootless_first_id: 0}\n",
    "config.yaml:2:14: hypervisor.rootless_first_id: must be a whole number of user ids from 1000 to 4290772990, not 0",
  ],
  [
    "version: 1\nmetrics: {enable: true}\n",
    "config.yaml:2:11: metrics.enable: is not implemented yet; delete the line",
  ],
  [
    "version: 1\nhypervisor: {type: cloud-hypervisor}\nruntime: {static_sandbox_resource_mgmt: false}\n",
    "config.yaml:3:11: runtime.static_sandbox_resource_mgmt: virtual machines that grow are for qemu so far; delete the line, or choose hypervisor.type: qemu",
  ],
  [
    "version: 1\nhypervisor: {machine_type: microvm, template: {enable: false}}\nruntime: {static_sandbox_resource_mgmt: false}\n",
    "config.yaml:3:11: runtime.static_sandbox_resource_mgmt: a microvm takes no CPUs and no memory after its start; delete the line, or choose hypervisor.machine_type: q35",
  ],
  [
    "version: 1\nhypervisor: {memory_backend: file, file_mem_backend: /dev/shm}\nruntime: {static_sandbox_resource_mgmt: false}\n",
    "config.yaml:2:14: hypervisor.memory_backend: memory that is plugged into a growing virtual machine is anonymous, not a file's; choose memfd, or delete runtime.static_sandbox_resource_mgmt: false",
  ],
  [
    "version: 1\nagent: {debug_console_enabled: true}\n",
    "config.yaml:2:9: agent.debug_console_enabled: is not implemented yet; delete the line",
  ],
  [
    "version: 1\nagent: {debug_console_enabled: 'true'}\n",
    'config.yaml:2:9: agent.debug_console_enabled: must be true or false, not "true"; write true',
  ],
  [
    "version: 1\nagent: {boot_timeout: 10}\n",
    "config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not 10; say the unit: 10s",
  ],
  [
    "version: 1\nagent: {boot_timeout: 10 s}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "10 s"; write a whole number and its unit: ms, s, m or h',
  ],
  [
    "version: 1\nagent: {boot_timeout: 10sec}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "10sec"; write a whole number and its unit: ms, s, m or h',
  ],
  [
    "version: 1\nagent: {boot_timeout: 1.5s}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "1.5s"; write a whole number and its unit: ms, s, m or h',
  ],
  [
    "version: 1\nagent: {boot_timeout: 999ms}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "999ms"',
  ],
  [
    "version: 1\nagent: {boot_timeout: 11m}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "11m"',
  ],
  [
    "version: 1\nagent: {boot_timeout: -1s}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not "-1s"; write a whole number and its unit: ms, s, m or h',
  ],
  [
    "version: 1\nagent: {boot_timeout: [10s]}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not ["10s"]; write a whole number and its unit: ms, s, m or h',
  ],
  [
    "version: 1\nagent: {dial_timeout: 0s}\n",
    'config.yaml:2:9: agent.dial_timeout: must be a duration from 10ms to 1m, not "0s"',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: 10s}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not "10s"; write {after: 10s}',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: allways}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not "allways"',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: unhandeld}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not "unhandeld"; did you mean unhandled?',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: {after: 10}}\n",
    "config.yaml:2:11: runtime.sigterm_escalation: after must be a duration from 100ms to 1h, not 10; say the unit: 10s",
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: {after: 10ms}}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: after must be a duration from 100ms to 1h, not "10ms"',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: {afer: 10s}}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not {"afer":"10s"}',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: {after: 10s, then: kill}}\n",
    'config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not {"after":"10s","then":"kill"}',
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: {}}\n",
    "config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not {}",
  ],
  [
    "version: 1\nruntime: {sigterm_escalation: []}\n",
    "config.yaml:2:11: runtime.sigterm_escalation: must be one of unhandled, immediate, never or {after: <duration>}, not []",
  ],
  [
    "version: 1\nhypervisor: {cpu_model: 486}\n",
    'config.yaml:2:14: hypervisor.cpu_model: must be text, not 486; put it in quotes: "486"',
  ],
  [
    "version: 1\nhypervisor: {cpu_model: 'host,+vmx'}\n",
    'config.yaml:2:14: hypervisor.cpu_model: must be the name of a CPU model: letters, digits, dot, dash and underscore, not "host,+vmx"',
  ],
  [
    "version: 1\nhypervisor: {cpu_model: ''}\n",
    'config.yaml:2:14: hypervisor.cpu_model: must be the name of a CPU model: letters, digits, dot, dash and underscore, not ""',
  ],
  ["version: 1\nhypervisor: {kernel: ''}\n", 'config.yaml:2:14: hypervisor.kernel: must be a path, not ""'],
  ["version: 1\nhypervisor: {kernel: 1}\n", "config.yaml:2:14: hypervisor.kernel: must be a path, not 1"],
  [
    "version: 1\nhypervisor: {kernel: ~/vmlinux}\n",
    'config.yaml:2:14: hypervisor.kernel: must be a path, not "~/vmlinux"; a shell would expand ~, nothing does here',
  ],
  [
    "version: 1\nhypervisor: {kernel: [/vmlinux]}\n",
    'config.yaml:2:14: hypervisor.kernel: must be a path, not ["/vmlinux"]',
  ],
  [
    'version: 1\nhypervisor: {kernel: "/a\\0b"}\n',
    'config.yaml:2:14: hypervisor.kernel: must be a path, not "/a\\u0000b"',
  ],
  [
    "version: 1\nhypervisor: {path: ''}\n",
    'config.yaml:2:14: hypervisor.path: must be a program\'s name or path, not ""',
  ],
  [
    "version: 1\nhypervisor: {path: ~/bin/qemu}\n",
    'config.yaml:2:14: hypervisor.path: must be a program\'s name or path, not "~/bin/qemu"; a shell would expand ~, nothing does here',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: quiet loglevel=7}\n",
    'config.yaml:2:14: hypervisor.kernel_params: must be a list, not "quiet loglevel=7"; write [quiet, loglevel=7]',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: {quiet: true}}\n",
    'config.yaml:2:14: hypervisor.kernel_params: must be a list, not {"quiet":true}',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: [quiet, 7]}\n",
    'config.yaml:2:37: hypervisor.kernel_params: a kernel parameter must be text, not 7; put it in quotes: "7"',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: ['a b']}\n",
    'config.yaml:2:30: hypervisor.kernel_params: a kernel parameter must be printable and without spaces, not "a b"',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: ['']}\n",
    'config.yaml:2:30: hypervisor.kernel_params: a kernel parameter must be printable and without spaces, not ""',
  ],
  [
    "version: 1\nhypervisor:\n  kernel_params:\n    - quiet\n    - [x]\n",
    'config.yaml:5:7: hypervisor.kernel_params: a kernel parameter must be text, not ["x"]',
  ],
  [
    "version: 1\nhypervisor: {kernel_params: [~]}\n",
    "config.yaml:2:30: hypervisor.kernel_params: a kernel parameter must be text, not null",
  ],
  [
    "version: 1\nhypervisor: {extra_args: ['']}\n",
    'config.yaml:2:27: hypervisor.extra_args: an argument must be a text that is not empty, not ""',
  ],
  [
    "version: 1\nhypervisor: {extra_args: -d}\n",
    'config.yaml:2:14: hypervisor.extra_args: must be a list, not "-d"; write [-d]',
  ],
  [
    "version: 1\nhypervisor: {cpu_features: [pmu]}\n",
    'config.yaml:2:29: hypervisor.cpu_features: a CPU feature must be + or - and the name of a CPU feature, not "pmu"',
  ],
  [
    "version: 1\nruntime: {enable_annotations: true}\n",
    "config.yaml:2:11: runtime.enable_annotations: must be a list, not true",
  ],
  [
    "version: 1\nruntime: {enable_annotations: [Hypervisor]}\n",
    'config.yaml:2:32: runtime.enable_annotations: a key pattern must be a key such as hypervisor.default_memory, or a pattern such as hypervisor.default_*, not "Hypervisor"',
  ],
  [
    "version: 1\nruntime: {annotation_paths: [kernels/*]}\n",
    'config.yaml:2:30: runtime.annotation_paths: a path pattern must be an absolute path (* stands for anything but a slash), not "kernels/*"',
  ],
  [
    "version: 1\nhypervisor: {accel: tcg, cpu_model: host}\n",
    "config.yaml:2:26: hypervisor.cpu_model: the CPU model host exists with KVM only, and hypervisor.accel is tcg; choose auto or max",
  ],
  [
    "version: 1\nagent: {boot_timeout: 1, dial_timeout: 2}\nshim: {x: 1}\n",
    'config.yaml:2:9: agent.boot_timeout: must be a duration from 1s to 10m, not 1; say the unit: 1s\nconfig.yaml:2:26: agent.dial_timeout: must be a duration from 10ms to 1m, not 2; say the unit: 2s\nconfig.yaml:3:8: unknown key "shim.x"; "hull config default" lists all keys',
  ],
  [
    "version: 1\nzzzzzzz0: 1\nzzzzzzz1: 1\nzzzzzzz2: 1\nzzzzzzz3: 1\nzzzzzzz4: 1\nzzzzzzz5: 1\nzzzzzzz6: 1\nzzzzzzz7: 1\nzzzzzzz8: 1\nzzzzzzz9: 1\nzzzzzzz10: 1\nzzzzzzz11: 1\nzzzzzzz12: 1\nzzzzzzz13: 1\nzzzzzzz14: 1\nzzzzzzz15: 1\nzzzzzzz16: 1\nzzzzzzz17: 1\nzzzzzzz18: 1\nzzzzzzz19: 1\nzzzzzzz20: 1\nzzzzzzz21: 1\nzzzzzzz22: 1\n",
    'config.yaml:2:1: unknown key "zzzzzzz0"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:3:1: unknown key "zzzzzzz1"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:4:1: unknown key "zzzzzzz2"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:5:1: unknown key "zzzzzzz3"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:6:1: unknown key "zzzzzzz4"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:7:1: unknown key "zzzzzzz5"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:8:1: unknown key "zzzzzzz6"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:9:1: unknown key "zzzzzzz7"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:10:1: unknown key "zzzzzzz8"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:11:1: unknown key "zzzzzzz9"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:12:1: unknown key "zzzzzzz10"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:13:1: unknown key "zzzzzzz11"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:14:1: unknown key "zzzzzzz12"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:15:1: unknown key "zzzzzzz13"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:16:1: unknown key "zzzzzzz14"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:17:1: unknown key "zzzzzzz15"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:18:1: unknown key "zzzzzzz16"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:19:1: unknown key "zzzzzzz17"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:20:1: unknown key "zzzzzzz18"; the sections are hypervisor, agent, runtime, shim, metrics\nconfig.yaml:21:1: unknown key "zzzzzzz19"; the sections are hypervisor, agent, runtime, shim, metrics\nand 3 more',
  ],
];
