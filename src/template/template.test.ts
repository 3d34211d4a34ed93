import assert from "node:assert/strict";
import {
  chmod,
  chown,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { FakeHypervisor, FakeVm } from "../../test/testkit/fake-hypervisor.ts";
import { Deadline } from "../core/deadline.ts";
import { unavailable } from "../core/errors.ts";
import type { VmSpec } from "../hypervisor/hypervisor.ts";
import { HITS_FILE } from "./manifest.ts";
import { type Template, TemplateStore } from "./store.ts";
import { obtainTemplate, TemplateUse } from "./template.ts";
import { templateKey } from "./template-key.ts";

let root: string;
let directory: string;
let driver: FakeHypervisor;
let spec: VmSpec;
let warnings: string[];
let deadline: Deadline;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hull-template-"));
  directory = join(root, "templates");
  driver = new FakeHypervisor();
  warnings = [];
  deadline = Deadline.after(20_000, "test");
  const [kernel, initrd] = [join(root, "vmlinux"), join(root, "initrd")];
  await writeFile(kernel, "kernel");
  await writeFile(initrd, "initrd");
  spec = {
    ...{ name: "p", directory: root, path: process.execPath, machine: "q35", accel: "tcg", cpuModel: "max" },
    ...{ vcpus: 1, memoryMib: 64, kernel, initrd, kernelParams: [], netns: undefined, vsock: undefined },
    ...{ shares: [], nics: [], disks: [], extraArgs: [] },
  };
});
afterEach(async () => {
  deadline.dispose();
  await rm(root, { recursive: true });
});

const settings = (change: { max_size?: number; wait?: boolean } = {}) => ({
  ...{ template_path: directory, max_size: 1024, wait: true },
  ...change,
});
const context = () => ({ deadline, log: () => undefined, warn: (text: string) => warnings.push(text) });
const obtain = (change: Partial<VmSpec> = {}, limits: { max_size?: number; wait?: boolean } = {}) =>
  obtainTemplate(driver, { ...spec, ...change }, settings(limits), context());
const build = async (change?: Partial<VmSpec>): Promise<Template> => {
  const template = await obtain(change);
  assert.ok(template);
  return template;
};

test("one of many concurrent callers builds the template, and saves it before its VM ends", async () => {
  const found = await Promise.all(Array.from({ length: 4 }, () => build()));
  assert.equal(driver.vms.length, 1);
  assert.equal(new Set(found.map(({ path }) => path)).size, 1);
  assert.deepEqual(driver.vms[0]?.calls, ["pause", "snapshot"]);
  assert.deepEqual(warnings, []);
  assert.deepEqual((await readdir(directory)).sort(), [found[0]?.key, "lock"].sort());
  const machine = driver.vms[0]?.spec;
  assert.deepEqual([machine?.vsock, machine?.shares, machine?.nics, machine?.disks], [undefined, [], [], []]);
});

test("with wait off, there is no template while another process builds it", async () => {
  const store = new TemplateStore(directory);
  await store.prepare();
  const lock = await store.lock(true, deadline);
  assert.equal(await obtain({}, { wait: false }), undefined);
  assert.equal(driver.vms.length, 0);
  await lock?.release();
  assert.ok(await obtain({}, { wait: false }));
});

test("a change of anything that a clone depends on selects another template", async () => {
  const keys = new Set([await templateKey("qemu", spec)]);
  const changes: Partial<VmSpec>[] = [
    ...[{ memoryMib: 65 }, { vcpus: 2 }, { cpuModel: "host" }, { accel: "kvm" as const }],
    ...[{ kernelParams: ["a"] }, { extraArgs: ["-d"] }, { path: "/bin/sh" }],
    ...[2, 3].map((maxVcpus) => ({ growth: { maxVcpus, maxMemoryMib: 1024, memorySlots: 6 } })),
  ];
  for (const change of changes) keys.add(await templateKey("qemu", { ...spec, ...change }));
  keys.add(await templateKey("fake", spec));
  await writeFile(spec.kernel, "kerneL"); // the same size
  keys.add(await templateKey("qemu", spec));
  assert.equal(keys.size, changes.length + 3);
  assert.ok(keys.has(await templateKey("qemu", { ...spec, name: "another pod", directory: "/elsewhere" })));
});

const edit = async (path: string, change: (manifest: Record<string, unknown>) => void) => {
  const file = join(path, "manifest.json");
  const manifest = JSON.parse(await readFile(file, "utf8"));
  change(manifest);
  await writeFile(file, JSON.stringify(manifest));
};
const DAMAGES: { name: string; damage: (path: string) => Promise<unknown>; says: RegExp; root?: boolean }[] =
  [
    {
      name: "truncated memory",
      damage: (path) => truncate(join(path, "memory"), 100),
      says: /memory: it has 100 bytes/,
    },
    { name: "missing state", damage: (path) => rm(join(path, "state")), says: /state: it is missing/ },
    {
      name: "no manifest",
      damage: (path) => rm(join(path, "manifest.json")),
      says: /manifest.json: it is missing/,
    },
    {
      name: "a manifest that is cut off",
      damage: (path) => truncate(join(path, "manifest.json"), 50),
      says: /truncated/,
    },
    {
      name: "changed content of the same size",
      damage: (path) => writeFile(join(path, "state"), "65 MiB"),
      says: /state: it was changed/,
    },
    {
      name: "content that its checksum does not fit",
      damage: async (path) => {
        await writeFile(join(path, "state"), "65 MiB");
        const { ctimeMs } = await lstat(join(path, "state"));
        await edit(path, ({ files }) => Object.assign((files as { state: object }).state, { ctimeMs }));
      },
      says: /state: its content has changed/,
    },
    {
      name: "another version's format",
      damage: (path) => edit(path, (manifest) => Object.assign(manifest, { format: 99 })),
      says: /format is 99/,
    },
    {
      name: "another configuration's template",
      damage: (path) => edit(path, (manifest) => Object.assign(manifest, { key: "0" })),
      says: /another configuration/,
    },
    {
      name: "a file that others may write",
      damage: (path) => chmod(join(path, "memory"), 0o602),
      says: /others than its owner/,
    },
    {
      name: "a directory that others may read",
      damage: (path) => chmod(path, 0o755),
      says: /others than its owner/,
    },
    {
      name: "a foreign owner",
      damage: (path) => chown(join(path, "state"), 1000, 1000),
      says: /belongs to user 1000/,
      root: true,
    },
  ];
for (const { name, damage, says, root: needsRoot } of DAMAGES) {
  const skip = needsRoot === true && process.getuid?.() !== 0 && "needs root";
  test(`a bad template is never restored, is reported once and is rebuilt: ${name}`, { skip }, async () => {
    const { path, key } = await build();
    await damage(path);
    const [status] = await new TemplateStore(directory).list();
    assert.match(status?.problem ?? "", says);
    const again = await Promise.all([build(), build()]);
    assert.deepEqual(
      again.map((template) => template.key),
      [key, key],
    );
    assert.equal(driver.vms.length, 2);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", says);
  });
}

test("a template directory that others can access is refused", async () => {
  await new TemplateStore(directory).prepare();
  await chmod(directory, 0o777);
  await assert.rejects(obtain(), {
    code: "DataLoss",
    message: /accessible to others than its owner \(mode 777\)/,
  });
});

test("the next builder removes what a killed one left", async () => {
  const { path } = await build();
  await rename(path, `${path}.building`);
  await build();
  assert.deepEqual(
    (await readdir(directory)).filter((name) => name.endsWith(".building")),
    [],
  );
});

test("a failed build leaves nothing and returns the cause", async (t) => {
  t.mock.method(FakeVm.prototype, "snapshot", async () => {
    throw unavailable("no room");
  });
  await assert.rejects(obtain(), { code: "Unavailable", message: "build a template: no room" });
  assert.deepEqual(await readdir(directory), ["lock"]);
  assert.equal((await driver.vms[0]?.exited)?.requested, true);
});

test("the error about a guest that dies before it is ready has the reason", async (t) => {
  t.mock.method(FakeVm.prototype, "console", () => "panic\n");
  const boot = FakeHypervisor.prototype.boot;
  t.mock.method(driver, "boot", async (...args: Parameters<typeof boot>) => {
    const { onConsole: _, ...quiet } = args[1];
    const vm = await boot.call(driver, args[0], quiet);
    vm.die("the guest's kernel crashed");
    return vm;
  });
  await assert.rejects(obtain(), {
    message: /did not become ready: the guest's kernel crashed; .*console lines:\npanic/,
  });
});

test("clones are counted; the size limit evicts the least recently used templates", async () => {
  const [first, second] = [await build(), await build({ vcpus: 2 })];
  const use = new TemplateUse(directory, first);
  await use.count();
  await use.count();
  const store = new TemplateStore(directory);
  const hits = async () => Object.fromEntries((await store.list()).map(({ key, hits }) => [key, hits]));
  assert.deepEqual(await hits(), { [first.key]: 2, [second.key]: 0 });
  const sizes = (await store.list()).reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(sizes > 0 && sizes < 1 << 20);
  await build({ vcpus: 3 });
  const all = await store.list();
  assert.equal(all.length, 3);
  for (const { path, key } of all) {
    await writeFile(join(path, "ballast"), Buffer.alloc(1 << 20));
    const used = key === second.key ? 1_000 : 2_000; // seconds since 1970
    await utimes(join(path, HITS_FILE), used, used);
  }
  await store.evict(1, 4);
  assert.deepEqual(
    (await store.list()).map(({ key }) => key).sort(),
    all.flatMap(({ key }) => (key === second.key ? [] : [key])).sort(),
  );
  // 64 MiB of 64: only the new one fits.
  await obtain({ vcpus: 4 }, { max_size: 64 });
  assert.deepEqual(
    (await store.list()).map(({ manifest }) => manifest?.facts.vcpus),
    [4],
  );
  await assert.rejects(obtain({ memoryMib: 128 }, { max_size: 64 }), {
    code: "ResourceExhausted",
    message: /hypervisor\.template\.max_size/,
  });
});

test("a failed clone discards its template unless that cannot be the cause", async () => {
  const store = new TemplateStore(directory);
  const template = await build();
  const use = new TemplateUse(directory, template);
  for (const code of ["DeadlineExceeded", "ResourceExhausted", "Canceled", "NotFound"]) {
    await use.failed(Object.assign(unavailable("x"), { code }));
    assert.equal((await store.list()).length, 1);
  }
  await use.failed(unavailable("qemu ended"));
  assert.deepEqual(await store.list(), []);
});

test("while a template is discarded, lookups find all of it or nothing", async () => {
  const store = new TemplateStore(directory);
  for (let round = 0; round < 16; round++) {
    const { key } = await build();
    const looks = Array.from({ length: 8 }, () => store.find(key));
    const [found, listed] = await Promise.all([
      Promise.allSettled(looks),
      store.list(),
      // Several at once; the round determines how far the lookups have got.
      ...[1, 2].map(async () => {
        for (let turn = 0; turn < round % 8; turn++) await new Promise(setImmediate);
        await store.discard(key);
      }),
    ]);
    for (const look of found)
      if (look.status === "rejected") assert.equal(look.reason.code, "NotFound", look.reason);
    assert.deepEqual(
      listed.flatMap(({ problem }) => problem ?? []),
      [],
    );
  }
  assert.deepEqual(await readdir(directory), ["lock"]);
});
