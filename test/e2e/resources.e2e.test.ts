/**
 * A VM's size, its place in the host's cgroups, and the limits in the guest: for containers and for CRI's
 * pods.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, it } from "node:test";
import { hostHierarchies } from "../../src/resources/pod-cgroup.ts";
import { cgroupPath, removeCgroup } from "../testkit/cgroup.ts";
import { ContainerdClient, ociAny, type Spec } from "../testkit/containerd-client.ts";
import { IDLE } from "../testkit/cri.ts";
import { cgroupsOf, podProcesses } from "../testkit/pod-processes.ts";
import { LinuxContainerResources } from "../testkit/proto/generated/runtime/v1/pod.ts";
import { cgroups } from "../testkit/resources.ts";
import { Task } from "../testkit/task.ts";
import { forEveryHandler } from "./cri-fixture.ts";
import { forEveryRunner, RUNTIMES } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const MIB = 1 << 20;
const CGROUP = ["--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"];
const ROLES = ["shim", "qemu", "virtiofsd"];

/** Asserts that every process of the pod is in `path` in every cgroup hierarchy of the host. */
async function assertPlaced(namespace: string, pod: string, path: string): Promise<void> {
  const processes = await podProcesses(namespace, pod);
  for (const role of ROLES) assert.ok(processes.has(role), `no ${role} in ${[...processes.keys()]}`);
  for (const [role, pids] of processes)
    for (const pid of pids) assert.deepEqual(await cgroupsOf(pid), [path], `${role} ${pid}`);
}

/** The guest's memory from /proc/meminfo: the VM's without the 30 to 40 MiB that the kernel reserves. */
const guestMib = (meminfo: string) => Number(/MemTotal: *(\d+)/.exec(meminfo)?.[1]) / 1024;

/** Runs `step` below a cgroup with a memory limit. */
async function belowLimit(mib: number, step: (parent: string) => Promise<void>): Promise<void> {
  const parent = cgroupPath("limit");
  const where = await hostHierarchies();
  const limits = where.map(({ mount, version, controllers }) =>
    version === 2
      ? [join(mount, parent, "memory.max")]
      : controllers.includes("memory")
        ? [join(mount, parent, "memory.limit_in_bytes")]
        : [],
  );
  for (const { mount } of where) await mkdir(join(mount, parent));
  try {
    const set = await Promise.allSettled(limits.flat().map((file) => writeFile(file, String(mib * MIB))));
    assert.ok(
      set.some(({ status }) => status === "fulfilled"),
      "no hierarchy of this host limits memory",
    );
    await step(parent);
  } finally {
    await removeCgroup(parent);
  }
}

forEveryRunner(
  "resources",
  (runner) => {
    const path = (id: string) => `/${runner().ctr.namespace}/${id}`;

    it("a VM has the size that the limits require, enforces them inside, and stays in its cgroup", async () => {
      const id = runner().id();
      const limits = ["--memory-limit", String(100 * MIB), "--cpus", "1.5", "--cpuset-cpus", "0-63"];
      const script =
        "cd /sys/fs/cgroup; nproc; cat memory.max cpu.max cpuset.cpus; head -1 /proc/meminfo; echo up; read line";
      const running = runner().start(["sh", "-c", script], {
        ...{ id, flags: [...CGROUP, ...limits], holdStdin: true },
      });
      await running.printed("up\n");
      await assertPlaced(runner().ctr.namespace, id, path(id));
      running.closeStdin(Buffer.from("\n"));
      const { stdout, code, stderr } = await running.ended;
      assert.equal(code, 0, stderr);
      const [meminfo = "", ...rest] = stdout.trim().split("\n").slice(0, -1).reverse();
      assert.deepEqual(rest.reverse(), ["2", String(100 * MIB), "150000 100000", "0-1"]);
      // 100 MiB + 96 MiB for the guest itself, rounded up to 256.
      assert.ok(guestMib(meminfo) > 200 && guestMib(meminfo) < 256, meminfo);
      const left = (await cgroups()).filter((one) => one.includes(runner().ctr.namespace));
      assert.deepEqual(left, []);
    });

    it("limits that exist only in cgroup v1 are ignored; the others are enforced and can be changed", async () => {
      const { containerd, ctr } = runner();
      const client = new ContainerdClient(containerd.address, ctr);
      const limits = {
        pids: { limit: 8 },
        hugepageLimits: [
          { pageSize: "2MB", limit: 4 * MIB },
          { pageSize: "64KB", limit: 0 },
        ],
        memory: {
          limit: 64 * MIB,
          swap: 128 * MIB,
          kernel: 32 * MIB,
          swappiness: 10,
          disableOOMKiller: true,
        },
        cpu: { shares: 512, quota: 50_000, realtimeRuntime: 1000, mems: "1" },
        blockIO: { weight: 100, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }] },
        network: { classID: 5 },
        unified: { "memory.high": String(60 * MIB), "io.max": "8:0 rbps=1000" },
      };
      const files = "pids.max hugetlb.2MB.max memory.max memory.high cpu.max";
      const show = async (task: Task) =>
        (await task.sh(`cd /sys/fs/cgroup; echo $(cat ${files})`)).out.trim();
      const task = await Task.create(client, {
        ...{ id: runner().id(), runtime: RUNTIMES.hull, args: ["sleep", "1000"] },
        edit: (spec) => {
          spec.linux.resources = { ...spec.linux.resources, ...limits };
          spec.mounts.push({
            destination: "/sys/fs/cgroup",
            type: "cgroup",
            source: "cgroup",
            options: ["ro"],
          });
        },
      });
      try {
        await task.start();
        assert.equal(await show(task), `8 ${4 * MIB} ${64 * MIB} ${60 * MIB} 50000 100000`);
        const { err } = await task.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done");
        assert.match(err, /can't fork/);
        const { containerId } = task;
        const update = async (resources: object) =>
          await client.tasks.update({ containerId, resources: ociAny("LinuxResources", resources) });
        await assert.rejects(update({ memory: { limit: 1024 * MIB } }), /more than its VM has \(192 MiB\)/);
        await update({
          pids: { limit: 20 },
          memory: { limit: 96 * MIB, swap: 96 * MIB },
          cpu: { quota: -1 },
        });
      } finally {
        await task.remove();
        client.close();
      }
    });

    it("a cpuset with CPUs that the VM does not have means all of its CPUs", async () => {
      const result = await runner().sh("nproc", { flags: ["--cpuset-cpus", "7"] });
      assert.deepEqual([result.code, result.stdout], [0, "1\n"], result.stderr);
    });

    it("a shim that is killed leaves no cgroup", async () => {
      const id = runner().id();
      const running = runner().start(["sh", "-c", "echo up; sleep 1000"], { id });
      await running.printed("up\n");
      const [shim = 0] = (await podProcesses(runner().ctr.namespace, id)).get("shim") ?? [];
      assert.deepEqual(await cgroupsOf(shim), [path(id)]);
      process.kill(shim, "SIGKILL");
      assert.notEqual((await running.ended).code, 0);
    });

    it("a VM fits the limit of its cgroup, or fails with the reason", async () => {
      await belowLimit(352, async (parent) => {
        // 512 + 96 MiB would be 640; 352 - 96 MiB for the VM's processes leaves 256.
        const flags = ["--cgroup", `${parent}/c`, "--memory-limit", String(512 * MIB)];
        const fitted = await runner().sh("head -1 /proc/meminfo", { flags });
        assert.equal(fitted.code, 0, fitted.stderr);
        assert.ok(guestMib(fitted.stdout) > 200 && guestMib(fitted.stdout) < 256, fitted.stdout);
      });
      await belowLimit(150, async (parent) => {
        const refused = await runner().sh("true", { flags: ["--cgroup", `${parent}/c`] });
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, /128 MiB.*limited to 150 MiB.*RuntimeClass/);
      });
    });
  },
  ["hull"],
  ["2"], // ctr of earlier lines lacks --cpuset-cpus, and nothing here depends on the line
);

forEveryHandler(
  "pod-resources",
  (target, handler) => {
    const cgroupParent = cgroupPath(`pods-${handler}`);
    after(() => removeCgroup(cgroupParent)); // the kubelet does this

    it("the pod's limits size the VM, which is in the pod's cgroup; a container cannot outgrow it", async () => {
      const resources = { memoryLimitInBytes: 100n << 20n, cpuQuota: 150_000n, cpuPeriod: 100_000n };
      const pod = await target().runPod({ linux: { cgroupParent, resources } });
      const memoryLimitInBytes = 100n << 20n;
      // As the kubelet sets it on hosts with huge pages and with its static CPU manager.
      const hugepageLimits = [
        { pageSize: "2MB", limit: 0n },
        { pageSize: "1GB", limit: 0n },
      ];
      const container = await pod.run(IDLE, {
        linux: { resources: { memoryLimitInBytes, hugepageLimits, cpusetCpus: "0" } },
      });
      const { stdout } = await container.sh("nproc; head -1 /proc/meminfo");
      if (handler !== "runc") {
        await assertPlaced("k8s.io", pod.id, `${cgroupParent}/${pod.id}`);
        assert.equal(stdout.split("\n")[0], "1"); // of the pod's two
        assert.ok(guestMib(stdout) > 200 && guestMib(stdout) < 256, stdout);
      }
      const update = (limit: bigint) =>
        target().cri.runtime.updateContainerResources({
          containerId: container.id,
          linux: LinuxContainerResources.fromPartial({ memoryLimitInBytes: limit, cpusetCpus: "0-1" }),
          annotations: {},
        });
      await update(120n << 20n);
      const now = await container.sh("nproc; cat /sys/fs/cgroup/memory.max");
      if (handler !== "runc") {
        assert.equal(now.stdout, `2\n${120 * MIB}\n`);
        await assert.rejects(update(1024n << 20n), /more than its VM has \(256 MiB\)/);
      }
      await pod.remove();
      assert.deepEqual(
        (await cgroups()).filter((one) => one.includes(cgroupParent) && one.includes(pod.id)),
        [],
      );
    });
  },
  ["2"],
);

forEveryRunner(
  "growth",
  (runner) => {
    const GROWS = { runtime: { static_sandbox_resource_mgmt: false } };

    /** Runs `step` with a configuration file and a function that creates tasks with it. */
    async function withConfig(
      hypervisor: Record<string, unknown>,
      step: (create: (id: string, edit?: (spec: Spec) => void) => Promise<Task>) => Promise<void>,
    ): Promise<void> {
      const { containerd, ctr } = runner();
      const root = await mkdtemp("/dev/shm/hull-e2e-growth-");
      const configPath = join(root, "qemu.yaml");
      const template = { enable: true, template_path: join(root, "templates") };
      await writeConfig(configPath, { ...GROWS, hypervisor: { template, ...hypervisor } });
      const client = new ContainerdClient(containerd.address, ctr);
      const tasks: Task[] = [];
      try {
        await step(async (id, edit) => {
          const settings = { id, runtime: RUNTIMES.hull, args: ["sleep", "1000"], configPath, edit };
          const task = await Task.create(client, settings);
          tasks.push(task);
          await task.start();
          return task;
        });
      } finally {
        for (const task of tasks.reverse()) await task.remove();
        client.close();
        await rm(root, { recursive: true });
      }
    }

    const update = ({ client, containerId }: Task, resources: object) =>
      client.tasks.update({ containerId, resources: ociAny("LinuxResources", resources) });

    /** CPUs and memory in MiB of the guest, seen from a container. */
    const machine = async (task: Task) => {
      const { out } = await task.sh("nproc; head -1 /proc/meminfo");
      return { cpus: Number.parseInt(out, 10), mib: guestMib(out) };
    };
    const assertMemory = (mib: number, of: number) =>
      assert.ok(mib > 0.84 * of && mib < of, `${mib} MiB of ${of}`);

    it("a pod's VM grows with its containers and their updates, up to the configuration's and the cgroup's limit", async () => {
      const volume = join(runner().containerd.directory, "growth");
      await mkdir(volume);
      await belowLimit(900, (parent) =>
        withConfig({ default_maxvcpus: 3, default_maxmemory: 1024 }, async (create) => {
          const pod = runner().id();
          const member =
            (type: string, resources: object = {}) =>
            (spec: Spec) => {
              spec.annotations = {
                "io.kubernetes.cri.container-type": type,
                "io.kubernetes.cri.sandbox-id": pod,
              };
              spec.linux.cgroupsPath = `${parent}/${pod}`;
              spec.linux.resources = { ...spec.linux.resources, ...resources };
              spec.mounts.push({ destination: "/vol", type: "bind", source: volume, options: ["rbind"] });
            };
          await create(pod, member("sandbox"));
          const first = await create(runner().id(), member("container"));
          const before = await machine(first);
          assert.equal(before.cpus, 1);
          assertMemory(before.mib, 256);

          const limits = { memory: { limit: 256 * MIB }, cpu: { quota: 100_000, period: 100_000 } };
          const second = await create(runner().id(), member("container", limits));
          // 256 MiB for it, 96 for the guest, and 160 for the first one, which has no limit.
          const grown = await machine(first);
          assert.equal(grown.cpus, 2);
          assertMemory(grown.mib, 512);
          // More memory than at first, on the CPU that did not exist then.
          const used = await second.sh(
            "taskset 2 dd if=/dev/zero of=/dev/null bs=220M count=1 2>&1 && echo used",
          );
          assert.match(used.out, /used\n$/);
          assert.match((await first.sh("grep '^cpu1 ' /proc/stat")).out, /^cpu1 [1-9]/);
          // The kernel uses memory above 4 GiB first, so pages through virtiofsd are hot-plugged ones, too.
          await second.sh("dd if=/dev/urandom of=/vol/guest bs=8M count=1; sync");
          await writeFile(join(volume, "host"), randomBytes(4 * MIB));
          const { out } = await second.sh("cat /vol/guest /vol/host | md5sum");
          const files = await Promise.all(["guest", "host"].map((name) => readFile(join(volume, name))));
          assert.equal(files[0]?.length, 8 * MIB);
          assert.equal(out.slice(0, 32), createHash("md5").update(Buffer.concat(files)).digest("hex"));

          await update(second, { memory: { limit: 500 * MIB }, cpu: { quota: 400_000 } });
          const updated = await machine(first);
          assert.equal(updated.cpus, 3);
          assertMemory(updated.mib, 768);
          const unfit = { memory: { limit: 700 * MIB } };
          await assert.rejects(update(second, unfit), /956 MiB .*cgroup, which is limited to 900 MiB/);
          await assert.rejects(
            create(runner().id(), member("container", unfit)),
            /do not fit the pod's cgroup, which is limited to 900 MiB/,
          );
          const tooMuch = { memory: { limit: 2048 * MIB } };
          await assert.rejects(update(second, tooMuch), /more than its VM has \(768 MiB\).* \(1024 MiB\)/);
          await assert.rejects(
            create(runner().id(), member("container", tooMuch)),
            /more than its VM has \(768 MiB\).* \(1024 MiB\)/,
          );
          assert.deepEqual(await machine(second), updated);
        }),
      );
    });

    it("a booted VM grows as a clone does; CPUs that its kernel does not accept are reported, and it keeps running", async () => {
      const hypervisor = { template: { enable: false }, kernel_params: ["nr_cpus=1"], default_maxvcpus: 2 };
      await withConfig(hypervisor, async (create) => {
        const task = await create(runner().id());
        await update(task, { memory: { limit: 400 * MIB } });
        const { mib } = await machine(task);
        assertMemory(mib, 512);
        await assert.rejects(update(task, { cpu: { quota: 200_000 } }), /the guest has 1 of 2 CPUs/);
        assert.equal((await machine(task)).mib, mib);
      });
    });
  },
  ["hull"],
  ["2"],
);
