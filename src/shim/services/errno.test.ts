import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { FakeSandbox, fakeIo } from "../../../test/testkit/fake-sandbox.ts";
import { messageOf } from "../../../test/testkit/message.ts";
import { Deadline } from "../../core/deadline.ts";
import { HullError } from "../../core/errors.ts";
import { MissingToolError } from "../../host/missing-tool.ts";
import { Pod } from "../../pod/pod.ts";
import {
  CreateTaskRequest,
  DeleteRequest,
  ExecProcessRequest,
  KillRequest,
  StartRequest,
  StateRequest,
  WaitRequest,
} from "../../proto/generated/containerd/task/v2/task.ts";
import type { CallContext } from "../../ttrpc/server-route.ts";
import { openProcessIo } from "../io/host-io.ts";
import { taskService } from "./task.ts";

type Operation = "create" | "start" | "exec" | "kill" | "wait" | "state" | "delete";

/** Errors of the host that must not reach containerd as one of `CODES_OF_OBJECTS`. */
const FAULTS: readonly Error[] = [
  ...["ENOENT", "ENOTDIR", "ESRCH", "EEXIST", "ENOSYS"].map((code) =>
    Object.assign(new Error(`${code}: the fault`), { code }),
  ),
  new MissingToolError("losetup", "/usr/sbin:/sbin"),
];
/** Codes that containerd relates to the object of its call. */
const CODES_OF_OBJECTS = ["NotFound", "AlreadyExists", "Unimplemented"];

/** The steps on the host that can fail in each operation. */
const STEPS: Readonly<Partial<Record<Operation, readonly string[]>>> = {
  create: ["boot", "share", "bind", "plug", "io"],
  start: ["network"],
  exec: ["io"],
  delete: ["release", "unplug", "close"],
};

describe("errnos of the host", () => {
  let bundle: string;
  before(async () => {
    bundle = await mkdtemp(join(tmpdir(), "hull-errno-"));
    const devices = [{ path: "/dev/x", type: "b", major: 7, minor: 1 }];
    const spec = {
      ociVersion: "1.0.2",
      process: { args: ["true"], cwd: "/" },
      root: { path: "rootfs" },
      mounts: [{ destination: "/v", type: "bind", source: "/v", options: ["rbind"] }],
      linux: { devices },
    };
    await writeFile(join(bundle, "config.json"), JSON.stringify(spec));
  });
  after(() => rm(bundle, { recursive: true }));

  /** A task service whose steps fail as `faults` says. */
  function setUp() {
    const faults = new Map<string, Error>();
    const at = async (step: string) => {
      const fault = faults.get(step);
      if (fault) throw fault;
    };
    const sandbox = new FakeSandbox();
    const { share } = sandbox;
    const plug = sandbox.plugDisk.bind(sandbox);
    const faulty = Object.assign(sandbox, {
      share: {
        add: async (...args: Parameters<typeof share.add>) => {
          await at("share");
          const made = await share.add(...args);
          return {
            ...made,
            bind: async (mount: Parameters<typeof made.bind>[0]) => {
              await at("bind");
              return await made.bind(mount);
            },
            release: async () => {
              await at("release");
              await made.release();
            },
          };
        },
      },
      plugDisk: async (disk: Parameters<typeof plug>[0]) => {
        await at("plug");
        const { serial, unplug } = await plug(disk);
        const unplugAt = async () => {
          await at("unplug");
          await unplug();
        };
        return { serial, unplug: unplugAt };
      },
      refreshNetwork: () => at("network"),
    });
    const pod = new Pod({
      id: "p",
      boot: async () => {
        await at("boot");
        return faulty;
      },
      publish: () => undefined,
      log: () => undefined,
    });
    const service = taskService({
      pod,
      version: "0",
      escalation: async () => "never",
      createTimeoutMs: async () => Number.POSITIVE_INFINITY,
      cgroupMode: async () => "v2",
      openIo: async (subject, stdio) => {
        await at("io");
        const context = { namespace: "n", directory: bundle, ledger: NO_LEDGER, warn: () => undefined };
        const io = stdio.stdout ? await openProcessIo(stdio, { ...subject, ...context }) : fakeIo();
        return Object.assign(io, { close: () => at("close") });
      },
      creating: () => undefined,
      outlivesContainers: () => false,
      shutdown: async () => undefined,
    });
    const context = { deadline: Deadline.none() } as CallContext;
    const id = "p";
    const spec = { typeUrl: "opencontainers/runtime-spec/1/Process", value: Buffer.from('{"args":["x"]}') };
    const calls: Record<Operation, (changes?: object) => unknown> = {
      create: (changes) =>
        service.create?.(messageOf(CreateTaskRequest, { id, bundle, ...changes }), context),
      start: () => service.start?.(messageOf(StartRequest, { id }), context),
      exec: (changes) =>
        service.exec?.(messageOf(ExecProcessRequest, { id, execId: "e", spec, ...changes }), context),
      kill: () => service.kill?.(messageOf(KillRequest, { id, signal: 9 }), context),
      wait: () => service.wait?.(messageOf(WaitRequest, { id }), context),
      state: (changes) => service.state?.(messageOf(StateRequest, { id, ...changes }), context),
      delete: (changes) => service.delete?.(messageOf(DeleteRequest, { id, ...changes }), context),
    };
    /** The code of a call's result, as the server returns it. */
    const outcome = async (operation: Operation, changes?: object) => {
      try {
        await calls[operation](changes);
        return "OK";
      } catch (error) {
        return HullError.from(error).code;
      }
    };
    return { faults, outcome };
  }

  const BEFORE: Readonly<Record<Operation, readonly Operation[]>> = {
    create: [],
    start: ["create"],
    exec: ["create", "start"],
    kill: ["create", "start"],
    wait: ["create"],
    state: ["create"],
    delete: ["create", "start", "kill", "wait"],
  };

  for (const [operation, steps] of Object.entries(STEPS) as [Operation, string[]][]) {
    it(`${operation}: a failing step on the host is not NotFound, AlreadyExists or Unimplemented`, async () => {
      for (const step of steps) {
        for (const fault of FAULTS) {
          const { faults, outcome } = setUp();
          for (const earlier of BEFORE[operation]) assert.equal(await outcome(earlier), "OK", earlier);
          faults.set(step, fault);
          const code = await outcome(operation);
          assert.notEqual(code, "OK", `${operation}: ${step} did not fail`);
          assert.ok(!CODES_OF_OBJECTS.includes(code), `${operation}: ${step}: ${fault.message}: ${code}`);
          if (operation !== "delete") continue;
          faults.clear();
          assert.equal(await outcome("delete"), "OK", `${step}: Delete succeeds once the step does`);
          assert.equal(await outcome("delete"), "NotFound", "a second Delete");
        }
      }
    });
  }

  it("a missing or existing object that the caller names is NotFound or AlreadyExists", async () => {
    const { outcome } = setUp();
    const fifo = { stdout: "/no/such/fifo" };
    assert.equal(await outcome("create", { bundle: "/no/such/bundle" }), "NotFound");
    assert.equal(await outcome("create", fifo), "NotFound");
    for (const operation of ["start", "exec", "kill", "wait", "state", "delete"] as const)
      assert.equal(await outcome(operation), "NotFound", operation);
    assert.equal(await outcome("create"), "OK");
    assert.equal(await outcome("create"), "AlreadyExists");
    assert.equal(await outcome("start"), "OK");
    assert.equal(await outcome("exec", fifo), "NotFound");
    assert.equal(await outcome("exec"), "OK");
    assert.equal(await outcome("exec"), "AlreadyExists");
    for (const operation of ["state", "delete"] as const)
      assert.equal(await outcome(operation, { execId: "none" }), "NotFound", operation);
  });
});

const NO_LEDGER = {
  record: async () => ({ update: async () => undefined, forget: async () => undefined }),
};
