/** The users that a pod's processes run as, seen from the host. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { pollUntil } from "../../src/core/poll-until.ts";
import type { VmConfig } from "../../src/hypervisor/cloud-hypervisor/api-types.ts";
import { CniNetns, hostLocal } from "../testkit/cni.ts";
import type { RunningCtr } from "../testkit/ctr.ts";
import { fakeCloudHypervisor } from "../testkit/fake-cloud-hypervisor.ts";
import {
  hostProcess,
  mountsOf,
  type PodProcess,
  podProcesses,
  rightsOf,
  writableDirectories,
} from "../testkit/host-processes.ts";
import { podProcesses as recordedProcesses } from "../testkit/pod-processes.ts";
import { runningCloudHypervisor } from "../testkit/running-cloud-hypervisor.ts";
import { within } from "../testkit/within.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const FIRST_ID = 1_500_000_000;
const NONE = "0000000000000000";

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SYS_ADMIN, MKNOD and SETFCAP (capabilities(7)). */
const VIRTIOFSD_CAPABILITIES = "00000000882000db";

/** Returns the user of a process, after asserting that it has no privileges on the host. */
function unprivileged({ argv, status }: PodProcess): number {
  const ids = `${status.Uid}\t${status.Gid}`.split("\t").map(Number);
  assert.equal(new Set(ids).size, 1, `${argv[0]}: ${ids}`);
  assert.equal(status.Groups?.trim(), "");
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) assert.equal(status[set], NONE, set);
  assert.equal(status.NoNewPrivs, "1");
  return ids[0] ?? 0;
}

forEveryRunner(
  "rootless",
  (runner) => {
    let root = "";
    let volume = "";
    let netns: CniNetns;
    let gateway = "";

    before(async () => {
      root = await mkdtemp("/dev/shm/hull-e2e-rootless-");
      volume = await mkdtemp(join(tmpdir(), "hull-e2e-rootless-"));
      netns = await CniNetns.create(`hull-e2e-rootless-${process.pid}`);
      const subnet = (process.pid % 200) + 20;
      gateway = `10.215.${subnet}.1`;
      await netns.add({ type: "ptp", ipam: hostLocal(root, `10.215.${subnet}.0/24`) }, "eth0");
    });
    after(async () => {
      await netns.remove();
      await rm(root, { recursive: true });
      await rm(volume, { recursive: true });
    });

    const start = async (name: string, hypervisor: object, script: string, flags: readonly string[] = []) => {
      const file = join(root, `${name}.yaml`);
      await writeConfig(file, { hypervisor: { rootless_first_id: FIRST_ID, ...hypervisor } });
      const command = ["sh", "-c", `${script}; echo ready; read line; true`];
      const options = { id: name, flags: ["--runtime-config-path", file, ...flags], holdStdin: true };
      return runner().start(command, options);
    };
    const qemu = async (name: string): Promise<PodProcess> => {
      const found = await podProcesses("qemu-system-x86_64", `${runner().ctr.namespace}/${name}`);
      assert.equal(found.length, 1);
      return found[0] as PodProcess;
    };
    const end = async (pod: RunningCtr) => {
      pod.closeStdin();
      assert.equal((await pod.ended).code, 0);
    };

    it("runs two pods as separate users, with network, volumes and a memory file in root's directory", async () => {
      const script = `ping -c 1 -W 5 ${gateway} >/dev/null && echo written >/volume/file`;
      const mount = `type=bind,src=${volume},dst=/volume,options=rbind:rw`;
      const flags = ["--with-ns", `network:${netns.path}`, "--mount", mount];
      const clone = await start("clone", {}, script, flags);
      const memory = { memory_backend: "file", file_mem_backend: root };
      const booted = await start("booted", { template: { enable: false }, ...memory }, "true");
      await Promise.all([clone.printed("ready\n"), booted.printed("ready\n")]);
      assert.equal(await readFile(join(volume, "file"), "utf8"), "written\n");

      const users: number[] = [];
      for (const name of ["clone", "booted"]) {
        const vmm = await qemu(name);
        const user = unprivileged(vmm);
        assert.equal(vmm.status.Seccomp, "2");
        const [vsock] = await podProcesses("vhost-device-vsock", `${runner().ctr.namespace}/${name}`);
        if (vsock) assert.equal(unprivileged(vsock), user);
        const [localhost] = await podProcesses("pod-localhost", `${runner().ctr.namespace}/${name}`);
        assert.equal(localhost !== undefined, name === "clone", "only a namespace with a path has one");
        if (localhost) assert.equal(unprivileged(localhost), user);
        assert.ok(user > FIRST_ID && user < FIRST_ID + 4_194_304, String(user));
        users.push(user);
      }
      assert.notEqual(users[0], users[1]);
      await end(clone);
      await end(booted);
    });

    it("gives each process only the privileges in docs/security.md", async () => {
      const pod = await start("rights", {}, "true", ["--with-ns", `network:${netns.path}`]);
      await pod.printed("ready\n");
      const processes = (program: string) => podProcesses(program, `${runner().ctr.namespace}/rights`);
      const rights = async (program: string) => await Promise.all((await processes(program)).map(rightsOf));
      const user = (await rights("qemu-system-x86_64"))[0]?.user ?? 0;
      assert.ok(user > FIRST_ID);
      const unprivilegedUser = { user, capabilities: NONE, noNewPrivs: "1", namespaces: ["mnt", "net"] };
      const [vmm, ...otherVmms] = await rights("qemu-system-x86_64");
      const allowed = ["/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock"];
      assert.deepEqual(
        { ...vmm, devices: vmm?.devices.filter((path) => !allowed.includes(path)) },
        { ...unprivilegedUser, seccomp: "2", devices: [] },
      );
      assert.deepEqual(otherVmms, []);
      assert.deepEqual(await rights("pod-localhost"), [{ ...unprivilegedUser, seccomp: "2", devices: [] }]);
      // It does not exist with vhost-vsock.
      for (const vsock of await rights("vhost-device-vsock"))
        assert.deepEqual(vsock, { ...unprivilegedUser, seccomp: "2", devices: [] });
      for (const program of ["qemu-system-x86_64", "pod-localhost", "vhost-device-vsock"]) {
        for (const one of await processes(program))
          assert.deepEqual(await writableDirectories(one), [], program);
      }
      const { ino: ofPod } = await stat(netns.path);
      for (const program of ["qemu-system-x86_64", "pod-localhost"])
        for (const { pid } of await processes(program))
          assert.equal((await stat(`/proc/${pid}/ns/net`)).ino, ofPod, program);
      // The parent waits for the worker, and has no privileges left but the user id root.
      const [parent, worker, ...others] = (await rights("virtiofsd")).sort(
        (a, b) => Number(a.seccomp) - Number(b.seccomp),
      );
      const waiting = { user: 0, capabilities: NONE, noNewPrivs: "1", seccomp: "0", devices: [] };
      assert.deepEqual(parent, { ...waiting, namespaces: ["mnt", "net"] });
      assert.deepEqual(worker, {
        ...{ user: 0, capabilities: VIRTIOFSD_CAPABILITIES, noNewPrivs: "1", seccomp: "2" },
        ...{ namespaces: ["mnt", "net", "pid"], devices: [] },
      });
      assert.deepEqual(others, []);
      for (const program of ["qemu-system-x86_64", "pod-localhost", "vhost-device-vsock", "virtiofsd"]) {
        for (const { pid } of await processes(program))
          assert.equal((await readFile(`/proc/${pid}/coredump_filter`, "utf8")).trim(), "00000031", program);
      }
      for (const one of await processes("virtiofsd")) {
        const mounts = await mountsOf(one);
        assert.ok(mounts.length > 1 && mounts.every(({ options }) => options.includes("nodev")));
        const writable = mounts.filter(({ options }) => !options.includes("ro"));
        assert.deepEqual(
          writable.filter(({ target }) => !/^\/[0-9a-f]{32}(\/|$)/.test(target)),
          [],
        );
      }
      await end(pod);
    });

    it("gives Cloud Hypervisor only the privileges in docs/security.md", async () => {
      await chmod(root, 0o755); // the program's user reads it by its path
      const path = fakeCloudHypervisor(join(root, "fake"));
      const clh = { type: "cloud-hypervisor", path, accel: "kvm", template: { enable: false } };
      const pod = await start("clh", clh, "true", ["--with-ns", `network:${netns.path}`]);
      const { namespace } = runner().ctr;
      const { pid, info } = await Promise.race([
        runningCloudHypervisor(`/run/hull/${namespace}/clh/vm/clh.sock`),
        pod.ended.then(({ stderr }) => assert.fail(`the pod exited before its VM ran: ${stderr}`)),
      ]);
      // testkit's program has opened KVM, the tap and the share by now and bound its vsock, as the real VMM
      // does.
      const config = info.config as unknown as VmConfig;
      assert.deepEqual([config.net?.length, config.fs?.length, config.vsock?.cid], [1, 1, 3]);
      const vmm = await hostProcess(pid);
      const user = unprivileged(vmm);
      assert.ok(user > FIRST_ID);
      assert.deepEqual(vmm.argv.slice(-6), [
        ...["--api-socket", "fd=3", "--event-monitor", "fd=4", "--seccomp", "true"],
      ]);
      const { devices, ...rights } = await rightsOf(vmm);
      assert.deepEqual(
        devices.filter((device) => device !== "/dev/kvm" && device !== "/dev/urandom"),
        [],
      );
      assert.deepEqual(await writableDirectories(vmm), []);
      // Cloud Hypervisor sets seccomp filters itself; testkit's program has none.
      assert.deepEqual(rights, {
        ...{ user, capabilities: NONE, noNewPrivs: "1", seccomp: "0", namespaces: ["mnt", "net"] },
      });
      // Only root can create names in the directory of its socket once the guest runs.
      const directory = await stat(`/run/hull/${namespace}/clh/vm/clh`);
      assert.deepEqual([directory.uid, directory.gid, directory.mode & 0o777], [0, user, 0o710]);
      process.kill(pid, "SIGKILL");
      // virtiofsd exits with its VMM; either may be noticed first.
      assert.match(
        (await pod.ended).stderr,
        /(killed by SIGKILL|virtiofsd exited .*) before the guest agent answered/,
      );
    });

    it("kills everything that runs as the pod's user together with the pod, even if the shim was killed and there are no cgroups", async () => {
      const file = join(root, "escaped.yaml");
      const runtime = { sandbox_cgroup_only: false };
      await writeConfig(file, { hypervisor: { rootless_first_id: FIRST_ID }, runtime });
      const { namespace } = runner().ctr;
      for (const name of ["ended", "shim-killed"]) {
        const flags = ["--runtime-config-path", file];
        const command = ["sh", "-c", "echo ready; read line; true"];
        const pod = runner().start(command, { id: name, flags, holdStdin: true });
        await pod.printed("ready\n");
        const user = unprivileged(await qemu(name));
        const escaped = spawn("setpriv", [`--reuid=${user}`, "--clear-groups", "--", "sleep", "600"], {
          ...{ env: {}, detached: true, stdio: "ignore" },
        });
        const gone = once(escaped, "exit");
        await pollUntil(
          async () => (await hostProcess(escaped.pid ?? 0)).argv[0] === "sleep",
          within(30_000),
        );
        const [shim = 0] = (await recordedProcesses(namespace, name)).get("shim") ?? [];
        if (name === "ended") pod.closeStdin();
        else process.kill(shim, "SIGKILL");
        const { code } = await pod.ended;
        assert.equal(code === 0, name === "ended");
        assert.deepEqual(await gone, [null, "SIGKILL"]);
      }
    });

    it("runs QEMU as root where the configuration says so", async () => {
      const pod = await start("privileged", { rootless: false }, "true");
      await pod.printed("ready\n");
      assert.equal((await qemu("privileged")).status.Uid, "0\t0\t0\t0");
      await end(pod);
    });
  },
  ["hull"],
  newestLine(),
);
