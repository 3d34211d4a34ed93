import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { FakeCloudHypervisor, type Fault } from "../../../test/testkit/cloud-hypervisor-api.ts";
import { Deadline } from "../../core/deadline.ts";
import { pollUntil } from "../../core/poll-until.ts";
import { ApiClient } from "./api-client.ts";

async function serve(
  t: TestContext,
  faults: Fault[] = [],
): Promise<{ client: ApiClient; fake: FakeCloudHypervisor }> {
  const directory = mkdtempSync(join(tmpdir(), "hull-clh-api-"));
  const fake = new FakeCloudHypervisor({ faults, checkHost: false });
  const path = join(directory, "api.sock");
  await fake.listen({ path });
  const client = new ApiClient(path);
  t.after(async () => {
    client.close();
    await fake.end("shutdown");
    rmSync(directory, { recursive: true, force: true });
  });
  return { client, fake };
}

const deadlines: Deadline[] = [];
after(() => {
  for (const deadline of deadlines) deadline.dispose(); // their timers would keep the process alive
});
const soon = (ms = 30_000) => {
  const deadline = Deadline.after(ms);
  deadlines.push(deadline);
  return deadline;
};

test("ping returns the version, and connections are kept alive", async (t) => {
  const { client, fake } = await serve(t);
  assert.equal((await client.ping(soon())).version, "53.0.0");
  let connections = 0;
  fake.onConnection(() => connections++);
  for (let call = 0; call < 20; call++) await client.ping(soon());
  assert.equal(connections, 0);
});

test("a refusal has the code of its status and the whole chain of causes", async (t) => {
  const { client } = await serve(t);
  await assert.rejects(client.boot(soon()), {
    code: "FailedPrecondition",
    message:
      "cloud-hypervisor vm.boot: Error from API: The VM could not boot: VM config is missing (HTTP 404)",
  });
  await assert.rejects(client.pause(soon()), { code: "Internal", message: /VM is not running \(HTTP 500\)/ });
});

test("the fake's strict schema refuses an unknown field", async (t) => {
  const { client } = await serve(t);
  await assert.rejects(client.addNet({ tap: "tap0", mac: "02:00:00:00:00:01", speed: 1 } as never, soon()), {
    code: "InvalidArgument",
    message: /unknown field `speed`/,
  });
});

const BROKEN: { name: string; fault: Fault; code: string; message: RegExp }[] = [
  {
    name: "plain text error",
    fault: { on: "vmm.ping", do: "error", status: 500, body: "it broke\n" },
    code: "Internal",
    message: /vmm\.ping: it broke \(HTTP 500\)/,
  },
  {
    name: "error without a body",
    fault: { on: "vmm.ping", do: "error", status: 405, body: "" },
    code: "FailedPrecondition",
    message: /no reason given \(HTTP 405\)/,
  },
  {
    name: "busy",
    fault: { on: "vmm.ping", do: "error", status: 429, body: '["Too Many Requests"]' },
    code: "Aborted",
    message: /Too Many Requests/,
  },
  {
    name: "duplicate",
    fault: { on: "vmm.ping", do: "error", status: 409, body: '["Identifier a is not unique"]' },
    code: "FailedPrecondition",
    message: /not unique/,
  },
  {
    name: "not JSON",
    fault: { on: "vmm.ping", do: "answer", body: "<html>" },
    code: "Internal",
    message: /not JSON/,
  },
  {
    name: "wrong form",
    fault: { on: "vmm.ping", do: "answer", body: '{"version":7}' },
    code: "Internal",
    message: /unexpected form/,
  },
  {
    name: "endless answer",
    fault: { on: "vmm.ping", do: "flood" },
    code: "ResourceExhausted",
    message: /larger than 4194304 bytes/,
  },
  { name: "dropped", fault: { on: "vmm.ping", do: "drop" }, code: "Unavailable", message: /vmm\.ping: / },
];
for (const { name, fault, code, message } of BROKEN) {
  test(`an invalid answer: ${name}`, async (t) => {
    const { client } = await serve(t, [{ ...fault, times: 1 }]);
    await assert.rejects(client.ping(soon()), { code, message });
    assert.equal((await client.ping(soon())).version, "53.0.0", "the next call works");
  });
}

test("a call without an answer ends at its deadline", async (t) => {
  const { client } = await serve(t, [{ on: "vmm.ping", do: "delay", ms: 3000 }]);
  await assert.rejects(client.ping(Deadline.after(100)), { code: "DeadlineExceeded", message: /vmm\.ping/ });
  const over = Deadline.none();
  over.cancel();
  await assert.rejects(client.ping(over), { code: "Canceled" });
});

test("a refused and a closed connection are Unavailable", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "hull-clh-api-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  await assert.rejects(new ApiClient(join(directory, "none")).ping(soon()), { code: "Unavailable" });
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(join(directory, "closing"), resolve));
  await assert.rejects(new ApiClient(join(directory, "closing")).ping(soon()), { code: "Unavailable" });
  server.close();
});

test("close rejects pending calls", async (t) => {
  const { client, fake } = await serve(t, [{ on: "vmm.ping", do: "delay", ms: 2000 }]);
  const call = assert.rejects(client.ping(soon()), { code: "Unavailable" });
  await pollUntil(() => fake.calls.length > 0, soon());
  client.close();
  await call;
});
