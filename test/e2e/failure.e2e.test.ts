/**
 * Failures before a container runs: one clear error before the deadline, nothing left behind, and the id
 * usable at once.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { podProcesses } from "../testkit/pod-processes.ts";
import { forEveryRunner, RUNTIMES, type Runner } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

interface Failure {
  readonly name: string;
  readonly config: Record<string, Record<string, unknown>>;
  /** What the error must contain: the object and the cause. */
  readonly errors: readonly RegExp[];
  /** A failure detected before anything is started must be reported at once. */
  readonly withinMs: number;
}

const AT_ONCE = 40_000;
/** Includes the guest's boot timeout. */
const BOOT = 150_000;

const FAILURES: readonly Failure[] = [
  {
    name: "the kernel is missing",
    config: { hypervisor: { kernel: "/no/such/vmlinux" } },
    errors: [/kernel/, /\/no\/such\/vmlinux/],
    withinMs: AT_ONCE,
  },
  {
    name: "the initrd is missing",
    config: { hypervisor: { initrd: "/no/such/initrd.img" } },
    errors: [/initrd/, /\/no\/such\/initrd\.img/],
    withinMs: AT_ONCE,
  },
  {
    name: "QEMU is absent",
    config: { hypervisor: { path: "/no/such/qemu" } },
    errors: [/\/no\/such\/qemu/],
    withinMs: AT_ONCE,
  },
  {
    name: "QEMU is a program that ends at once",
    config: { hypervisor: { path: "/bin/false" } },
    errors: [/\/bin\/false|qemu/i, /ended|exit|status 1/],
    withinMs: 60_000,
  },
  {
    name: "there is no such accelerator",
    config: { hypervisor: { accel: "warp" } },
    errors: [/accel/, /warp|one of/, /tcg/],
    withinMs: AT_ONCE,
  },
  {
    name: "an unknown key",
    config: { hypervisor: { kernle: "/x" } },
    errors: [/kernle/, /kernel/, /\.yaml:\d+/],
    withinMs: AT_ONCE,
  },
  {
    name: "the memory is too small to be one",
    config: { hypervisor: { default_memory: 1 } },
    errors: [/default_memory/, /MiB|64/],
    withinMs: AT_ONCE,
  },
  {
    name: "the virtio-fs daemon ends at once",
    config: { hypervisor: { virtio_fs_daemon: "/bin/false" } },
    errors: [/virtiofsd|virtio-fs|virtio_fs|\/bin\/false/],
    withinMs: 60_000,
  },
  {
    name: "the vsock device ends at once",
    config: { hypervisor: { vhost_device_vsock: "/bin/false" } },
    errors: [/vsock|\/bin\/false/],
    withinMs: 60_000,
  },
  {
    name: "the guest has no agent",
    // Not an initrd: the guest panics, and its last lines are in the error.
    config: {
      hypervisor: { initrd: join(import.meta.dirname, "run.e2e.test.ts") },
      agent: { boot_timeout: "20s" },
    },
    errors: [/agent|guest|boot/, /panic|Kernel|not syncing/],
    withinMs: BOOT,
  },
];

/** Runs `ctr run` with the configuration file. Resolves with its stderr and duration. */
async function failingRun(
  runner: Runner,
  id: string,
  flags: readonly string[],
  withinMs: number,
): Promise<string> {
  const start = performance.now();
  const result = await runner.sh("echo must not run", { id, flags, timeoutMs: withinMs + 5_000 });
  const duration = performance.now() - start;
  assert.notEqual(result.code, 0, "the container ran");
  assert.equal(result.stdout, "");
  assert.ok(duration < withinMs, `took ${Math.round(duration)} ms, more than ${withinMs}: ${result.stderr}`);
  return result.stderr;
}

forEveryRunner(
  "failure",
  (runner) => {
    for (const { name, config, errors, withinMs } of FAILURES) {
      it(`${name}: fails with the cause, and the id works again`, async () => {
        const id = runner().id();
        const file = join(runner().containerd.directory, "hull.yaml");
        await writeConfig(file, config);
        const message = await failingRun(runner(), id, ["--runtime-config-path", file], withinMs);
        for (const expected of errors) assert.match(message, expected);
        const again = await runner().sh("exit 6", { id });
        assert.equal(again.code, 6, again.stderr);
      });
    }

    it("a configuration file that does not exist: the message names it", async () => {
      const message = await failingRun(
        runner(),
        runner().id(),
        ["--runtime-config-path", "/no/such/hull.yaml"],
        AT_ONCE,
      );
      assert.match(message, /\/no\/such\/hull\.yaml/);
    });

    it("a configuration that is not YAML: the message names file and line", async () => {
      const file = join(runner().containerd.directory, "garbage.yaml");
      await writeFile(file, "version: 1\nhypervisor: [\n");
      const message = await failingRun(runner(), runner().id(), ["--runtime-config-path", file], AT_ONCE);
      assert.match(message, /garbage\.yaml:\d+/);
    });

    /** Starts a container with `ctr run --rm`. */
    const running = async (id: string) => {
      const started = runner().start(["sh", "-c", "echo up; exec sleep 600"], { id });
      await started.printed("up");
      return { started, processes: await podProcesses(runner().ctr.namespace, id) };
    };

    it("a stopped child of virtiofsd exits with its pod", async () => {
      const id = runner().id();
      const { started, processes } = await running(id);
      const [, ...children] = processes.get("virtiofsd") ?? [];
      assert.ok(children.length > 0, "virtiofsd has no child");
      for (const pid of children) process.kill(pid, "SIGSTOP");
      await runner().ctr.expect(["task", "kill", "--signal", "KILL", id]);
      await started.ended;
      const again = await runner().sh("exit 6", { id });
      assert.equal(again.code, 6, again.stderr);
    });

    it("an OCI spec without a program: fails, and the id works again", async () => {
      const id = runner().id();
      const file = join(runner().containerd.directory, "spec.json");
      await writeFile(
        file,
        JSON.stringify({ ociVersion: "1.0.2", process: { cwd: "/", args: [] }, root: { path: "rootfs" } }),
      );
      const result = await runner().ctr.call([
        "run",
        "--rm",
        "--runtime",
        RUNTIMES.hull,
        "--config",
        file,
        id,
      ]);
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, /args|process/);
      const again = await runner().sh("exit 6", { id });
      assert.equal(again.code, 6, again.stderr);
    });
  },
  ["hull"],
);
