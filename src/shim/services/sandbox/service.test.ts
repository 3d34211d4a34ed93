import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { FakeSandbox } from "../../../../test/testkit/fake-sandbox.ts";
import { messageOf } from "../../../../test/testkit/message.ts";
import { Deadline } from "../../../core/deadline.ts";
import { HullError, unavailable } from "../../../core/errors.ts";
import type { SandboxRequest } from "../../../oci/sandbox-request.ts";
import { Pod } from "../../../pod/pod.ts";
import type { CreateSandboxRequest } from "../../../proto/generated/containerd/runtime/sandbox/v1/sandbox.ts";
import { Metrics } from "../../../proto/generated/io/containerd/cgroups/v2/metrics.ts";
import {
  LinuxPodSandboxConfig,
  PodSandboxConfig,
} from "../../../proto/generated/runtime/v1/pod_sandbox_config.ts";
import type { CallContext } from "../../../ttrpc/server-route.ts";
import { SandboxService } from "./service.ts";

const context = { deadline: Deadline.none() } as CallContext;
const withCode = (code: string) => (error: unknown) => error instanceof HullError && error.code === code;

describe("the sandbox service", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "hull-sandbox-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  function setUp(boot?: () => Promise<never>) {
    const sandbox = new FakeSandbox();
    const requests: SandboxRequest[] = [];
    const pod = new Pod({
      id: "p1",
      boot: async (request) => {
        requests.push(request);
        return boot ? await boot() : sandbox;
      },
      publish: () => undefined,
      log: () => undefined,
    });
    let shutdowns = 0;
    const service = new SandboxService({
      pod,
      id: "p1",
      directory,
      version: "1.2.3",
      cgroupMode: async () => "v2",
      creating: () => undefined,
      shutdown: async () => {
        shutdowns++;
        await pod.dispose();
      },
    });
    const handlers = service.handlers() as Required<ReturnType<SandboxService["handlers"]>>;
    return { sandbox, requests, pod, service, handlers, shutdowns: () => shutdowns };
  }

  function createRequest(config: Partial<PodSandboxConfig> = {}): CreateSandboxRequest {
    const value = PodSandboxConfig.encode(messageOf(PodSandboxConfig, config)).finish();
    return {
      sandboxId: "p1",
      bundlePath: directory,
      rootfs: [],
      options: { typeUrl: "runtime.v1.PodSandboxConfig", value },
      netnsPath: "/run/netns/n1",
      annotations: { "a/call": "2" },
    };
  }

  const id = { sandboxId: "p1" };

  it("is created once, even by two concurrent calls", async () => {
    const { handlers } = setUp();
    const calls = [1, 2].map(async () => await handlers.createSandbox(createRequest(), context));
    const [first, second] = await Promise.allSettled(calls);
    assert.equal([first, second].filter((one) => one?.status === "fulfilled").length, 1);
    const refused = first?.status === "rejected" ? first : second;
    assert.ok(refused?.status === "rejected" && withCode("AlreadyExists")(refused.reason));
  });

  it("creates a pod from CRI's configuration, starts, stops and shuts it down", async () => {
    const { handlers, requests, service, pod, sandbox, shutdowns } = setUp();
    await handlers.createSandbox(
      createRequest({
        hostname: "web",
        dnsConfig: { servers: ["10.0.0.10"], searches: ["svc.local"], options: ["ndots:5"] },
        annotations: { "a/pod": "1" },
        linux: messageOf(LinuxPodSandboxConfig, { sysctls: { "net.core.somaxconn": "99" } }),
      }),
      context,
    );
    assert.ok(service.owns);
    assert.equal(
      (await handlers.sandboxStatus({ ...id, verbose: false }, context)).state,
      "SANDBOX_NOTREADY",
    );
    const started = await handlers.startSandbox(id, context);
    assert.equal(started.pid, sandbox.pid);
    assert.ok((started.createdAt?.seconds ?? 0n) > 0n);
    const [request] = requests;
    assert.equal(request?.hostname, "web");
    assert.equal(request?.netns, "/run/netns/n1");
    assert.deepEqual(request?.sysctls, { "net.core.somaxconn": "99" });
    assert.deepEqual(request?.annotations, { "a/pod": "1", "a/call": "2" });
    const resolv = request?.files?.find(({ destination }) => destination === "/etc/resolv.conf");
    assert.equal(
      await readFile(resolv?.source ?? "", "utf8"),
      "nameserver 10.0.0.10\nsearch svc.local\noptions ndots:5\n",
    );

    await handlers.pingSandbox(id, context);
    const status = await handlers.sandboxStatus({ ...id, verbose: true }, context);
    assert.equal(status.state, "SANDBOX_READY");
    assert.deepEqual(JSON.parse(status.info.info ?? "").runtime, {
      name: "io.containerd.hull.v2",
      version: "1.2.3",
    });
    assert.equal((await handlers.platform(id, context)).platform?.os, "linux");
    const { metrics } = await handlers.sandboxMetrics(id, context);
    assert.equal(metrics?.id, "p1");
    assert.equal(metrics?.data?.typeUrl, "io.containerd.cgroups.v2.Metrics");
    assert.notEqual(Metrics.decode(metrics?.data?.value ?? new Uint8Array()).memory, undefined);

    const waiting = handlers.waitSandbox(id, context);
    await handlers.stopSandbox({ ...id, timeoutSecs: 0 }, context);
    assert.equal((await waiting).exitStatus, 0);
    assert.equal(sandbox.stops, 1);
    await assert.rejects(async () => await handlers.pingSandbox(id, context), withCode("FailedPrecondition"));
    const stopped = await handlers.sandboxStatus({ ...id, verbose: false }, context);
    assert.equal(stopped.state, "SANDBOX_NOTREADY");
    assert.ok((stopped.exitedAt?.seconds ?? 0n) > 0n);
    await handlers.stopSandbox({ ...id, timeoutSecs: 0 }, context);
    await handlers.shutdownSandbox(id, context);
    assert.equal(shutdowns(), 1);
    assert.equal(pod.state, "stopped");
  });

  it("returns from WaitSandbox when the VM is lost", async () => {
    const { handlers, sandbox } = setUp();
    await handlers.createSandbox(createRequest(), context);
    await handlers.startSandbox(id, context);
    const waiting = handlers.waitSandbox(id, context);
    sandbox.lose("qemu died");
    const { exitStatus, exitedAt } = await waiting;
    assert.equal(exitStatus, 137);
    assert.ok((exitedAt?.seconds ?? 0n) > 0n);
  });

  it("fails the start with the cause, and WaitSandbox returns at once", async () => {
    const { handlers } = setUp(async () => {
      throw unavailable("no kernel");
    });
    await handlers.createSandbox(createRequest(), context);
    await assert.rejects(handlers.startSandbox(id, context) as Promise<unknown>, /no kernel/);
    assert.equal((await handlers.waitSandbox(id, context)).exitStatus, 137);
    await handlers.stopSandbox({ ...id, timeoutSecs: 0 }, context);
  });

  it("reads the spec of the bundle if there is one", async () => {
    const { handlers, requests } = setUp();
    const config = join(directory, "config.json");
    const spec = { hostname: "from-spec", process: { args: ["x"] }, annotations: { "a/spec": "0" } };
    await writeFile(config, JSON.stringify(spec));
    try {
      await handlers.createSandbox({ ...createRequest(), options: undefined }, context);
    } finally {
      await rm(config);
    }
    await handlers.startSandbox(id, context);
    assert.equal(requests[0]?.hostname, "from-spec");
    assert.deepEqual(requests[0]?.annotations, { "a/spec": "0", "a/call": "2" });
  });

  it("refuses calls in the wrong order, other sandboxes and unknown options", async () => {
    const { handlers, service } = setUp();
    await assert.rejects(
      handlers.startSandbox(id, context) as Promise<unknown>,
      withCode("FailedPrecondition"),
    );
    assert.ok(!service.owns);
    const other = { ...createRequest(), sandboxId: "p2" };
    await assert.rejects(handlers.createSandbox(other, context) as Promise<unknown>, withCode("NotFound"));
    const strange = { ...createRequest(), options: { typeUrl: "x.y/Z", value: new Uint8Array() } };
    await assert.rejects(
      handlers.createSandbox(strange, context) as Promise<unknown>,
      withCode("InvalidArgument"),
    );
    await handlers.createSandbox(createRequest(), context);
    await assert.rejects(
      handlers.createSandbox(createRequest(), context) as Promise<unknown>,
      withCode("AlreadyExists"),
    );
    await handlers.startSandbox(id, context);
    await assert.rejects(
      handlers.startSandbox(id, context) as Promise<unknown>,
      withCode("FailedPrecondition"),
    );
  });

  it("refuses DNS settings with line breaks", async () => {
    const { handlers } = setUp();
    const dnsConfig = { servers: ["1.1.1.1\nnameserver 6.6.6.6"], searches: [], options: [] };
    await assert.rejects(
      handlers.createSandbox(createRequest({ dnsConfig }), context) as Promise<unknown>,
      withCode("InvalidArgument"),
    );
  });
});
