import assert from "node:assert/strict";
import { test } from "node:test";
import { REFUSED_FILES } from "../../test/fixtures/refused-config-files.ts";
import { parseText } from "./parse/parse-text.ts";
import { decodeRuntimeOptions } from "./parse/runtime-options.ts";
import { isForeignTable } from "./parse/toml-body.ts";
import { layerOf } from "./result/layer.ts";
import { LoadedConfig } from "./result/loaded-config.ts";
import { ConfigError } from "./schema/problem.ts";

const PREFIX = "configuration refused: ";
const source = "config.yaml";

async function load(text: string, kind: "file" | "options" = "file"): Promise<LoadedConfig> {
  const directory = kind === "file" ? "/etc/hull" : undefined;
  const name = kind === "file" ? source : "config_body";
  const document = await parseText({ kind, source: name, text, directory });
  return LoadedConfig.of([layerOf(document, { kind, source: name, directory })], [name], "/opt/hull");
}

const refused = (message: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof ConfigError, String(thrown));
  assert.equal(thrown.code, "InvalidArgument");
  assert.equal(thrown.message, PREFIX + message);
  return true;
};

test("files are refused with their exact place, rule and advice", async (t) => {
  assert.ok(REFUSED_FILES.length >= 100, `${REFUSED_FILES.length} cases`);
  for (const [text, message] of REFUSED_FILES) {
    await t.test(JSON.stringify(text).slice(0, 80), () => assert.rejects(load(text), refused(message)));
  }
});

const OPEN = [
  "version: 1",
  "runtime:",
  '  enable_annotations: [hypervisor.default_*, hypervisor.kernel*, agent.boot_timeout, "runtime.*", hypervisor.path]',
  "  annotation_paths: [/usr/lib/kernels/*, /usr/bin/qemu-*]",
].join("\n");

const ANNOTATIONS: readonly (readonly [key: string, value: string, message: string])[] = [
  ["", "1", 'unknown key ""'],
  ["hypervisor", "1", 'unknown key "hypervisor"; did you mean io.hull.config.hypervisor.type?'],
  [
    "hypervisor.default_memry",
    "1",
    'unknown key "hypervisor.default_memry"; did you mean io.hull.config.hypervisor.default_memory?',
  ],
  ["__proto__", "1", 'unknown key "__proto__"'],
  ["hypervisor.type", "qemu", "this key can only be set in the node's configuration"],
  ["hypervisor.accel", "tcg", "this key can only be set in the node's configuration"],
  ["hypervisor.extra_args", "-S", "this key can only be set in the node's configuration"],
  ["hypervisor.virtio_fs_extra_args", "-o source=/", "this key can only be set in the node's configuration"],
  ["runtime.enable_annotations", "*", "this key can only be set in the node's configuration"],
  ["runtime.annotation_paths", "/*", "this key can only be set in the node's configuration"],
  [
    "hypervisor.cpu_model",
    "max",
    "not allowed on this node; add hypervisor.cpu_model to runtime.enable_annotations in the node's configuration",
  ],
  [
    "agent.dial_timeout",
    "1s",
    "not allowed on this node; add agent.dial_timeout to runtime.enable_annotations in the node's configuration",
  ],
  [
    "hypervisor.default_memory",
    "2Gi",
    'must be a whole number of MiB from 64 to 1048576, not "2Gi"; write 2048',
  ],
  ["hypervisor.default_memory", "1", "must be a whole number of MiB from 64 to 1048576, not 1"],
  ["hypervisor.default_memory", "-512", "must be a whole number of MiB from 64 to 1048576, not -512"],
  ["hypervisor.default_memory", "", 'must be a whole number of MiB from 64 to 1048576, not ""'],
  ["hypervisor.default_vcpus", "1e2", 'must be a whole number of vCPUs from 1 to 240, not "1e2"'],
  ["hypervisor.default_vcpus", "0x10", 'must be a whole number of vCPUs from 1 to 240, not "0x10"'],
  [
    "agent.boot_timeout",
    "10",
    'must be a duration from 1s to 10m, not "10"; write a whole number and its unit: ms, s, m or h',
  ],
  ["runtime.log_level", "loud", 'must be one of trace, debug, info, warn, error, not "loud"'],
  [
    "runtime.sigterm_escalation",
    "10s",
    'must be one of unhandled, immediate, never or {after: <duration>}, not "10s"; write {after: 10s}',
  ],
  [
    "runtime.sigterm_escalation",
    "{after: 10s}",
    'must be one of unhandled, immediate, never or {after: <duration>}, not "{after: 10s}"',
  ],
  ["runtime.disable_guest_seccomp", "yes", 'must be true or false, not "yes"; write true'],
  ["runtime.disable_guest_seccomp", "true", "is not implemented yet; delete the line"],
  ["runtime.vfio_mode", "vfio", "is not implemented yet; delete the line"],
  [
    "hypervisor.kernel_params",
    '["a b"]',
    'a kernel parameter must be printable and contain no spaces, not "a b"',
  ],
  ["hypervisor.kernel_params", "[1]", 'a kernel parameter must be a string, not 1; put it in quotes: "1"'],
  ["hypervisor.kernel_params", "[quiet", 'must be a list, not "[quiet"; write [[quiet]'],
  ["hypervisor.kernel", "vmlinux", 'must be an absolute path without . and .., not "vmlinux"'],
  [
    "hypervisor.kernel",
    "/usr/lib/kernels/../../../etc/shadow",
    'must be an absolute path without . and .., not "/usr/lib/kernels/../../../etc/shadow"',
  ],
  [
    "hypervisor.kernel",
    "/etc/shadow",
    'path "/etc/shadow" is not allowed on this node; add a pattern for it to runtime.annotation_paths in the node\'s configuration',
  ],
  [
    "hypervisor.kernel",
    "/usr/lib/kernels/a/b",
    'path "/usr/lib/kernels/a/b" is not allowed on this node; add a pattern for it to runtime.annotation_paths in the node\'s configuration',
  ],
  [
    "hypervisor.path",
    "qemu-system-x86_64",
    'must be an absolute path without . and .., not "qemu-system-x86_64"',
  ],
  [
    "hypervisor.path",
    "/bin/sh",
    'path "/bin/sh" is not allowed on this node; add a pattern for it to runtime.annotation_paths in the node\'s configuration',
  ],
];

test("annotations are refused with their name and the key that would allow them", async (t) => {
  const node = await load(OPEN);
  for (const [key, value, message] of ANNOTATIONS) {
    await t.test(`${key}=${value}`, () => {
      const name = `io.hull.config.${key}`;
      assert.throws(() => node.withAnnotations({ [name]: value }), refused(`annotation ${name}: ${message}`));
    });
  }
});

test("without a list of allowed annotations all are refused", async () => {
  const node = await load("version: 1");
  assert.throws(
    () => node.withAnnotations({ "io.hull.config.hypervisor.default_memory": "512" }),
    refused(
      "annotation io.hull.config.hypervisor.default_memory: not allowed on this node; add hypervisor.default_memory to runtime.enable_annotations in the node's configuration",
    ),
  );
});

test("a combination that an annotation makes impossible is refused too", async () => {
  const node = await load(
    "version: 1\nhypervisor: {accel: tcg}\nruntime: {enable_annotations: [hypervisor.cpu_model]}",
  );
  assert.throws(
    () => node.withAnnotations({ "io.hull.config.hypervisor.cpu_model": "host" }),
    refused(
      "annotation io.hull.config.hypervisor.cpu_model: hypervisor.cpu_model: the CPU model host exists with KVM only, and hypervisor.accel is tcg; choose auto or max",
    ),
  );
});

const BODIES: readonly (readonly [text: string, message: string])[] = [
  [
    "version = 2\n",
    "config_body: version: version 2 is newer than this hull supports; it supports version 1; update hull",
  ],
  ["[hypervisor]\ntype = 'qemu'\n", 'config_body: version: is missing; start the file with "version: 1"'],
  [
    "version = 1\nFoo = 'bar'\n",
    'config_body: unknown key "Foo"; the sections are hypervisor, agent, runtime, shim, metrics',
  ],
  [
    "version = 1\n[hypervisor]\nkernel = 'vmlinux'\n",
    'config_body: hypervisor.kernel: must be an absolute path, not "vmlinux"; relative paths are allowed only in files',
  ],
  [
    "version = 1\n[hypervisor]\ndefault_memory = '512'\n",
    'config_body: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not "512"; write 512, without quotes',
  ],
  [
    "version = 1\n[hypervisor]\ndefault_memory = 1979-05-27\n",
    'config_body: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not "1979-05-27"',
  ],
  [
    "version = 1\nversion = 1\n",
    "config_body:2:1: not TOML: Invalid TOML document: trying to redefine an already defined table or value",
  ],
  [
    "version: 1\nhypervisor: {kernel: ../vmlinux}\n",
    'config_body:2:14: hypervisor.kernel: must be an absolute path, not "../vmlinux"; relative paths are allowed only in files',
  ],
  [
    "version: 1\nhypervisor: {default_memory: 1}\n",
    "config_body:2:14: hypervisor.default_memory: must be a whole number of MiB from 64 to 1048576, not 1",
  ],
];

test("a configuration in the runtime options is refused with the same messages", async (t) => {
  for (const [text, message] of BODIES) {
    await t.test(JSON.stringify(text), () => assert.rejects(load(text, "options"), refused(message)));
  }
});

const bytes = (...parts: (number | string)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))));

const OPTIONS: readonly (readonly [typeUrl: string, value: Uint8Array, message: string])[] = [
  [
    "io.containerd.runhcs.v1.Options",
    bytes(),
    'runtime options: type "io.containerd.runhcs.v1.Options" is not supported; set runtime_type to io.containerd.hull.v2 and the option ConfigPath',
  ],
  [
    "",
    bytes(0x0a, 0),
    'runtime options: type "" is not supported; set runtime_type to io.containerd.hull.v2 and the option ConfigPath',
  ],
  ["runtimeoptions.v1.Options", bytes(0x12, 5, "ab"), "runtime options: cannot be decoded: premature EOF"],
  [
    "types.containerd.io/runtimeoptions.v1.Options",
    bytes(0x12, 1, 0xff),
    "runtime options: cannot be decoded: The encoded data was not valid for encoding utf-8",
  ],
];

test("runtime options of another type, and malformed ones, are refused", async (t) => {
  for (const [typeUrl, value, message] of OPTIONS) {
    await t.test(JSON.stringify(typeUrl), () => {
      assert.throws(() => decodeRuntimeOptions({ typeUrl, value }), refused(message));
    });
  }
});

test("files of the maximum size that are nested throughout are refused in bounded time", async () => {
  for (const kind of ["file", "options"] as const) {
    for (const unit of ["[", "{", "- ", "? ", "{a: ", "a:\n ", "{a=", "[a."]) {
      const begin = kind === "file" ? "version: 1\na: " : "version = 1\na = ";
      const text = `${begin}${unit.repeat(Math.floor((64 * 1024) / unit.length))}`;
      const start = process.cpuUsage(); // CPU time: a busy machine must not fail the test
      const { problems } = await parseText({ kind, source: "x", text, directory: "/" });
      assert.ok(problems.length > 0, unit);
      const { user, system } = process.cpuUsage(start);
      assert.ok(user + system < 10_000_000, `${unit} took ${(user + system) / 1000} ms`);
    }
  }
});

test("a refusal quotes only part of its input, and no control characters", async () => {
  await assert.rejects(load(`version: 1\nagent: *a${"a".repeat(50_000)}\n`), (thrown: Error) => {
    assert.ok(thrown.message.length < 2_000, `${thrown.message.length} characters`);
    return true;
  });
  await assert.rejects(load("version: 1\nagent: *a\u009b31mred\n"), (thrown: Error) => {
    assert.ok(!thrown.message.includes("\u009b"));
    return true;
  });
});

test("a body of blank lines is checked in linear time", () => {
  for (const [first, unit] of [
    ["x = 1\n", "\n"],
    ["x = 1\n[", " "],
  ] as const) {
    const start = process.cpuUsage();
    assert.ok(isForeignTable(`${first}${unit.repeat(4_000)}`));
    const { user, system } = process.cpuUsage(start);
    assert.ok(user + system < 2_000_000, `it took ${(user + system) / 1000} ms`);
  }
});

test("thousands of annotations with unknown keys are refused in linear time", async () => {
  const loaded = await load("version: 1\n");
  const names = Array.from({ length: 13_000 }, (_, index) => `io.hull.config.hypervisor.defaul_${index}`);
  const start = process.cpuUsage();
  assert.throws(() => loaded.withAnnotations(Object.fromEntries(names.map((name) => [name, "1"]))), {
    code: "InvalidArgument",
    message: /did you mean io\.hull\.config\.hypervisor\.default_.*and 12980 more/s,
  });
  const { user, system } = process.cpuUsage(start);
  assert.ok(user + system < 2_000_000, `it took ${(user + system) / 1000} ms`);
});

test("an annotation's value that is nested too deeply is refused like any other", async () => {
  const loaded = await load("version: 1\nruntime: {enable_annotations: [hypervisor.kernel_params]}\n");
  const deep = `${"[".repeat(50_000)}${"]".repeat(50_000)}`;
  assert.throws(() => loaded.withAnnotations({ "io.hull.config.hypervisor.kernel_params": deep }), {
    code: "InvalidArgument",
    message: /nested too deeply/,
  });
});
