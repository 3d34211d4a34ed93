import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { type LoadRequest, loadConfig } from "./load.ts";
import { originText } from "./result/explain.ts";
import { ConfigError } from "./schema/problem.ts";

let root: string;
// The hook runs for subtests, too, so that there is more than one directory per test.
const roots: string[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-config-"));
  roots.push(root);
});
after(async () => {
  for (const directory of roots) await rm(directory, { recursive: true, force: true });
});

async function put(file: string, text: string): Promise<string> {
  const full = join(root, file);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, text, { mode: 0o644 });
  return full;
}

const options = (fields: { path?: string; body?: string }) => {
  const writer = new BinaryWriter();
  if (fields.path !== undefined) writer.uint32(0x12).string(fields.path);
  if (fields.body !== undefined) writer.uint32(0x1a).string(fields.body);
  return { typeUrl: "runtimeoptions.v1.Options", value: writer.finish() };
};
const memory = (mib: number) => `version: 1\nhypervisor: {default_memory: ${mib}}\n`;
const load = (more: Partial<LoadRequest> = {}) =>
  loadConfig({ env: {}, installation: join(root, "opt/hull"), root, ...more });
const refused = (pattern: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof ConfigError, String(thrown));
  assert.match(thrown.message, pattern);
  return true;
};

test("every source takes precedence over the next", async () => {
  const named = await put("named/config.yaml", memory(101));
  const byEnv = await put("env/config.yaml", memory(102));
  const etc = await put("etc/hull/config.yaml", memory(103));
  const share = await put("usr/share/defaults/hull/config.yaml", memory(104));
  const own = await put("opt/hull/configs/qemu.yaml", memory(105));
  const env = { HULL_CONFIG: byEnv };
  const order: [Partial<LoadRequest>, number, string][] = [
    [{ env, runtimeOptions: options({ path: named, body: memory(110) }) }, 101, named],
    [{ env, runtimeOptions: options({ body: memory(110) }) }, 110, "config_body"],
    [{ env, runtimeOptions: options({}) }, 102, byEnv],
    [{ env }, 102, byEnv],
    [{}, 103, etc],
  ];
  for (const [request, mib, source] of order) {
    const { config, sources } = await load(request);
    assert.equal(config.hypervisor.default_memory, mib);
    assert.deepEqual(sources, [source]);
  }
  for (const [gone, mib, source] of [
    [etc, 104, share],
    [share, 105, own],
  ] as const) {
    await rm(gone);
    const loaded = await load();
    assert.equal(loaded.config.hypervisor.default_memory, mib);
    assert.deepEqual(loaded.sources, [source]);
  }
  await rm(own);
  const { config, sources } = await load();
  assert.equal(config.hypervisor.default_memory, 256);
  assert.equal(config.hypervisor.kernel, join(root, "opt/hull/guest/vmlinux"));
  assert.deepEqual(sources, []);
});

test("drop-ins apply by name, mappings merge, lists are replaced, annotations come last", async () => {
  const base = await put(
    "etc/hull/config.yaml",
    "version: 1\nhypervisor: {default_memory: 300, default_vcpus: 2, kernel: ../k, kernel_params: [a, b]}\n" +
      "runtime: {enable_annotations: [hypervisor.default_memory]}\n",
  );
  const second = await put("etc/hull/config.d/20.yaml", memory(500));
  const first = await put(
    "etc/hull/config.d/10.yaml",
    "version: 1\nhypervisor: {default_memory: 400, initrd: i, kernel_params: [c]}\n",
  );
  await put("etc/hull/config.d/30.yml", memory(600));
  await put("etc/hull/config.d/.40.yaml", memory(600));
  await symlink("nowhere", join(root, "etc/hull/config.d/50.yaml"));
  const loaded = await load({
    annotations: { "io.hull.config.hypervisor.default_memory": "700", "io.kubernetes.x": "y" },
  });
  const { hypervisor } = loaded.config;
  assert.deepEqual(loaded.sources, [base, first, second]);
  assert.equal(hypervisor.default_memory, 700);
  assert.equal(hypervisor.default_vcpus, 2);
  assert.deepEqual(hypervisor.kernel_params, ["c"]);
  assert.equal(hypervisor.kernel, join(root, "etc/k"));
  assert.equal(hypervisor.initrd, join(root, "etc/hull/config.d/i"));
  assert.deepEqual(
    loaded.history.get("hypervisor.default_memory")?.map(({ value, origin }) => [value, originText(origin)]),
    [
      [700, "annotation io.hull.config.hypervisor.default_memory"],
      [500, `${second}:2:14`],
      [400, `${first}:2:14`],
      [300, `${base}:2:14`],
      [256, "default"],
    ],
  );
});

test("a loaded configuration cannot be changed", async () => {
  const { config } = await load();
  assert.throws(() => Object.assign(config.hypervisor, { default_memory: 1 }), TypeError);
  assert.throws(() => (config.hypervisor.kernel_params as string[]).push("x"), TypeError);
  assert.ok(Object.isFrozen(config.hypervisor.template));
});

test("a table of another runtime is ignored with a warning, runc's options without one", async () => {
  const { config, warnings } = await load({ runtimeOptions: options({ body: "SystemdCgroup = true\n" }) });
  assert.equal(config.hypervisor.default_memory, 256);
  assert.deepEqual(warnings, ["the runtime options contain no hull configuration and are ignored"]);
  const runc = await load({
    runtimeOptions: { typeUrl: "containerd.runc.v1.Options", value: Buffer.of(0x48, 1) },
  });
  assert.deepEqual(runc.warnings, []);
});

test("hull's own table in containerd's configuration is read as containerd sends it", async () => {
  const body = "TypeUrl = ''\nversion = 1\n\n[hypervisor]\ndefault_memory = 512\nkernel_params = ['quiet']\n";
  const { config } = await load({ runtimeOptions: options({ body }) });
  assert.equal(config.hypervisor.default_memory, 512);
  assert.deepEqual(config.hypervisor.kernel_params, ["quiet"]);
});

test("an explicitly named file must exist, be absolute, and be trustworthy", async (t) => {
  const missing = join(root, "missing.yaml");
  await t.test("missing by option", () =>
    assert.rejects(
      load({ runtimeOptions: options({ path: missing }) }),
      refused(/missing\.yaml: does not exist, but the runtime options name it/),
    ),
  );
  await t.test("missing by environment", () =>
    assert.rejects(
      load({ env: { HULL_CONFIG: missing } }),
      refused(/does not exist, but the environment names it; create it or change the path in HULL_CONFIG/),
    ),
  );
  await t.test("relative", () =>
    assert.rejects(
      load({ env: { HULL_CONFIG: "x.yaml" } }),
      refused(/HULL_CONFIG: must be an absolute path, not "x\.yaml"/),
    ),
  );
  const file = await put("c.yaml", memory(512));
  const env = { HULL_CONFIG: file };
  for (const mode of [0o664, 0o646, 0o666, 0o777]) {
    await t.test(`mode ${mode.toString(8)}`, async () => {
      await chmod(file, mode);
      await assert.rejects(
        load({ env }),
        refused(/is writable by users other than its owner \(mode 0\d{3}\); run "chmod go-w /),
      );
    });
  }
  await chmod(file, 0o644);
  await t.test("a directory", () =>
    assert.rejects(load({ env: { HULL_CONFIG: root } }), refused(/is not a regular file/)),
  );
  await t.test("a FIFO does not hang", async () => {
    execFileSync("mkfifo", ["-m", "600", join(root, "fifo")]);
    await assert.rejects(
      load({ env: { HULL_CONFIG: join(root, "fifo") } }),
      refused(/is not a regular file/),
    );
  });
  await t.test("a device", () =>
    assert.rejects(load({ env: { HULL_CONFIG: "/dev/zero" } }), refused(/is not a regular file/)),
  );
  await t.test("too large", async () => {
    await truncate(file, 64 * 1024 + 1);
    await assert.rejects(load({ env }), refused(/is larger than 65536 bytes/));
  });
  await t.test("not UTF-8", async () => {
    await writeFile(file, Buffer.of(0xff, 0xfe, 0x00));
    await assert.rejects(load({ env }), refused(/is not UTF-8 text/));
  });
  await t.test("owned by another user", { skip: process.geteuid?.() !== 0 && "needs root" }, async () => {
    execFileSync("chown", ["12345", file]);
    await assert.rejects(load({ env }), refused(/belongs to user 12345, which is not trusted/));
  });
  await t.test("a drop-in", async () => {
    await put("d/config.yaml", memory(512));
    await chmod(await put("d/config.d/x.yaml", memory(512)), 0o666);
    await assert.rejects(
      load({ env: { HULL_CONFIG: join(root, "d/config.yaml") } }),
      refused(/d\/config\.d\/x\.yaml: is writable by/),
    );
  });
});

test("what was parsed once is not parsed again, and a forged cache is not read", async () => {
  const file = await put("c.yaml", memory(512));
  const cache = join(root, "cache");
  const request = { env: { HULL_CONFIG: file }, cache };
  assert.equal((await load(request)).config.hypervisor.default_memory, 512);
  const [entry] = await readdir(cache);
  assert.match(entry ?? "", /^[0-9a-f]{64}\.json$/);
  // An entry with another value shows that the cache is read.
  await writeFile(
    join(cache, entry ?? ""),
    JSON.stringify({
      value: { version: 1, hypervisor: { default_memory: 999 } },
      positions: {},
      problems: [],
    }),
  );
  assert.equal((await load(request)).config.hypervisor.default_memory, 999);
  await chmod(cache, 0o755);
  assert.equal((await load(request)).config.hypervisor.default_memory, 512);
  await chmod(cache, 0o700);
  await writeFile(join(cache, entry ?? ""), "{ torn");
  assert.equal((await load(request)).config.hypervisor.default_memory, 512);
  await writeFile(file, memory(600));
  assert.equal((await load(request)).config.hypervisor.default_memory, 600);
  await writeFile(file, memory(1));
  await assert.rejects(load(request), refused(/c\.yaml:2:14: hypervisor\.default_memory: must be/));
  assert.equal((await readdir(cache)).length, 2);
});
