import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { FakeCloudHypervisor } from "./cloud-hypervisor-api.ts";
import { BODIES, violation } from "./cloud-hypervisor-api-schema.ts";

interface Bench {
  readonly fake: FakeCloudHypervisor;
  readonly directory: string;
  readonly events: string[];
  call(method: string, action: string, body?: unknown): Promise<{ status: number; body: unknown }>;
}

async function bench(t: TestContext): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), "hull-clh-kit-"));
  const events: string[] = [];
  const fake = new FakeCloudHypervisor({
    checkHost: false,
    onEvent: ({ source, event }) => events.push(`${source} ${event}`),
  });
  const socketPath = join(directory, "api.sock");
  await fake.listen({ path: socketPath });
  t.after(async () => {
    await fake.end("shutdown");
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    fake,
    directory,
    events,
    call: (method, action, body) =>
      new Promise((resolve, reject) => {
        const call = request({ socketPath, method, path: `/api/v1/${action}`, agent: false }, (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            resolve({ status: response.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) });
          });
        });
        call.on("error", reject);
        call.end(body === undefined ? undefined : JSON.stringify(body));
      }),
  };
}

type Stage = "none" | "created" | "running" | "paused";

async function reach(at: Bench, stage: Stage): Promise<void> {
  const kernel = join(at.directory, "vmlinux");
  writeFileSync(kernel, "");
  const steps: [string, unknown?][] = [
    ["vm.create", { payload: { kernel }, memory: { size: 1 << 28, shared: true }, balloon: { size: 0 } }],
    ["vm.boot"],
    ["vm.pause"],
  ];
  for (const [action, body] of steps.slice(0, ["none", "created", "running", "paused"].indexOf(stage))) {
    assert.equal((await at.call("PUT", action, body)).status, 204);
  }
}

// Status per action and stage, from vmm/src/lib.rs (what is refused) and vmm/src/api/http/mod.rs (how).
const MATRIX: Record<string, Record<Stage, number>> = {
  "vm.create": { none: 204, created: 500, running: 500, paused: 500 },
  "vm.boot": { none: 404, created: 204, running: 500, paused: 500 },
  "vm.pause": { none: 500, created: 500, running: 204, paused: 500 },
  "vm.resume": { none: 500, created: 500, running: 500, paused: 204 },
  "vm.info": { none: 404, created: 200, running: 200, paused: 200 },
  "vm.counters": { none: 500, created: 500, running: 200, paused: 200 },
  "vm.resize": { none: 404, created: 204, running: 204, paused: 204 },
  "vm.add-disk": { none: 404, created: 204, running: 200, paused: 200 },
  "vm.add-net": { none: 404, created: 204, running: 200, paused: 200 },
  "vm.add-fs": { none: 404, created: 204, running: 200, paused: 200 },
  "vm.add-device": { none: 404, created: 204, running: 200, paused: 200 },
  "vm.remove-device": { none: 404, created: 404, running: 404, paused: 404 },
  "vm.snapshot": { none: 500, created: 500, running: 500, paused: 204 },
  "vm.restore": { none: 500, created: 500, running: 500, paused: 500 },
  "vm.shutdown": { none: 500, created: 500, running: 204, paused: 204 },
  "vm.reboot": { none: 404, created: 404, running: 204, paused: 204 },
  "vm.power-button": { none: 500, created: 500, running: 204, paused: 204 },
  "vm.delete": { none: 204, created: 204, running: 204, paused: 204 },
  "vmm.ping": { none: 200, created: 200, running: 200, paused: 200 },
  "vmm.shutdown": { none: 200, created: 200, running: 200, paused: 200 },
};

function bodyOf(action: string, directory: string): unknown {
  switch (action) {
    case "vm.create":
      return { payload: { kernel: join(directory, "vmlinux") } };
    case "vm.resize":
      return { desired_balloon: 1 << 20 };
    case "vm.add-disk":
      return { path: "/disk", id: "d" };
    case "vm.add-net":
      return { tap: "tap0", id: "n" };
    case "vm.add-fs":
      return { tag: "t", socket: "/s", num_queues: 1, queue_size: 1024 };
    case "vm.add-device":
      return { path: "/sys/bus/pci/devices/0000:01:00.0", id: "p" };
    case "vm.remove-device":
      return { id: "none" };
    case "vm.snapshot":
      return { destination_url: `file://${directory}` };
    case "vm.restore":
      return { source_url: "file:///no/such/directory" };
    default:
      return undefined;
  }
}

for (const [action, expected] of Object.entries(MATRIX)) {
  test(`${action} in every state`, async (t) => {
    for (const stage of ["none", "created", "running", "paused"] as const) {
      const at = await bench(t);
      await reach(at, stage);
      const method = ["vm.info", "vm.counters", "vmm.ping"].includes(action) ? "GET" : "PUT";
      const answer = await at.call(method, action, bodyOf(action, at.directory));
      assert.equal(answer.status, expected[stage], `${action} in ${stage}: ${JSON.stringify(answer.body)}`);
      if (answer.status < 400) continue;
      assert.ok(Array.isArray(answer.body) && answer.body[0] === "Error from API", "the chain of causes");
    }
  });
}

test("lifecycle events come in the order of the real VMM", async (t) => {
  const at = await bench(t);
  await reach(at, "paused");
  for (const action of ["vm.resume", "vm.delete", "vmm.shutdown"]) await at.call("PUT", action);
  assert.deepEqual(at.events, [
    ...["vm booting", "vm booted", "vm pausing", "vm paused", "vm resuming", "vm resumed"],
    ...["vm shutdown", "vm deleted", "vmm shutdown"],
  ]);
});

test("refuses unknown paths, methods and bodies", async (t) => {
  const at = await bench(t);
  assert.deepEqual(await at.call("PUT", "vm.fly"), { status: 404, body: ["Not Found"] });
  assert.deepEqual(await at.call("PUT", "constructor"), { status: 404, body: ["Not Found"] });
  assert.equal((await at.call("GET", "vm.boot")).status, 400);
  assert.equal((await at.call("POST", "vm.boot")).status, 400);
  assert.equal((await at.call("PUT", "vm.boot", {})).status, 400);
  assert.equal((await at.call("PUT", "vm.create")).status, 400);
});

const MISTAKES: {
  name: string;
  config: object;
  status: number;
  cause: RegExp;
  at: "vm.create" | "vm.boot";
}[] = [
  {
    name: "unknown field",
    config: { pyload: {} },
    status: 400,
    cause: /unknown field `pyload`/,
    at: "vm.create",
  },
  {
    name: "wrong type",
    config: { memory: { size: "1G" } },
    status: 400,
    cause: /body\.memory\.size/,
    at: "vm.create",
  },
  {
    name: "special cid",
    config: { vsock: { cid: 2, socket: "/s" } },
    status: 400,
    cause: /cid/,
    at: "vm.create",
  },
  { name: "no kernel", config: { payload: {} }, status: 400, cause: /not bootable/, at: "vm.boot" },
  {
    name: "fs without shared memory",
    config: { fs: [{ tag: "t", socket: "/s", num_queues: 1, queue_size: 1024 }] },
    status: 400,
    cause: /requires using shared memory/,
    at: "vm.boot",
  },
  {
    name: "the same id twice",
    config: {
      disks: [
        { path: "/a", id: "x" },
        { path: "/b", id: "x" },
      ],
    },
    status: 409,
    cause: /Identifier x is not unique/,
    at: "vm.boot",
  },
  {
    name: "reserved id",
    config: { disks: [{ id: "__x" }] },
    status: 400,
    cause: /__x is not valid/,
    at: "vm.boot",
  },
  { name: "small MTU", config: { net: [{ mtu: 576 }] }, status: 400, cause: /MTU 576/, at: "vm.boot" },
  {
    name: "long serial",
    config: { disks: [{ serial: "x".repeat(21) }] },
    status: 400,
    cause: /serial length/,
    at: "vm.boot",
  },
  {
    name: "fewer CPUs than at boot",
    config: { cpus: { boot_vcpus: 2, max_vcpus: 1 } },
    status: 400,
    cause: /Max CPUs/,
    at: "vm.boot",
  },
];
for (const mistake of MISTAKES) {
  test(`refuses a wrong configuration: ${mistake.name}`, async (t) => {
    const at = await bench(t);
    const kernel = join(at.directory, "vmlinux");
    writeFileSync(kernel, "");
    const create = await at.call("PUT", "vm.create", { payload: { kernel }, ...mistake.config });
    const answer = mistake.at === "vm.create" ? create : await at.call("PUT", "vm.boot");
    assert.equal(answer.status, mistake.status);
    assert.match(JSON.stringify(answer.body), mistake.cause);
  });
}

test("always detects an additional field or a wrong type", () => {
  const shape = BODIES["vm.create"];
  assert.ok(shape);
  const good = {
    payload: { kernel: "/k" },
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 1, shared: true },
    disks: [{ path: "/d", serial: "s" }],
    net: [{ tap: "t", mtu: 1500 }],
  };
  assert.equal(violation(good, shape), undefined);
  const places = [
    (body: typeof good) => body,
    (body: typeof good) => body.payload,
    (body: typeof good) => body.cpus,
    (body: typeof good) => body.memory,
    (body: typeof good) => body.disks[0] ?? {},
    (body: typeof good) => body.net[0] ?? {},
  ];
  fc.assert(
    fc.property(fc.constantFrom(...places), fc.string(), fc.jsonValue(), (place, key, value) => {
      const body = structuredClone(good);
      Object.assign(place(body), { [`x-${key}`]: value });
      assert.match(violation(body, shape) ?? "", /unknown field `x-/);
    }),
  );
  for (const [place, key] of [
    ["payload", "kernel"],
    ["cpus", "boot_vcpus"],
    ["memory", "shared"],
  ] as const) {
    const body = structuredClone(good);
    Object.assign(body[place], { [key]: [] });
    assert.match(violation(body, shape) ?? "", new RegExp(`body\\.${place}\\.${key}`));
  }
});
