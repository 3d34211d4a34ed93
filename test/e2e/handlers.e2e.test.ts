/**
 * The configuration file selects the VMM: two handlers with different files in one containerd, observed from
 * outside. Cloud Hypervisor is testkit's executable, which accepts the real API but runs no guest: its pod
 * gets as far as a running VM whose agent does not answer.
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import type { VmConfig } from "../../src/hypervisor/cloud-hypervisor/api-types.ts";
import { fakeCloudHypervisor } from "../testkit/fake-cloud-hypervisor.ts";
import { podProcesses } from "../testkit/host-processes.ts";
import { runningCloudHypervisor } from "../testkit/running-cloud-hypervisor.ts";
import { forEveryRunner, newestLine } from "./fixture.ts";
import { writeConfig } from "./hull-config.ts";

const commandLines = async (program: string, pod: string) =>
  (await podProcesses(program, pod)).map(({ argv }) => argv);

forEveryRunner(
  "handlers",
  (runner) => {
    let programs: string | undefined;
    after(async () => {
      if (programs) await rm(programs, { recursive: true });
    });

    it("runs QEMU and Cloud Hypervisor side by side, each with its own file", async () => {
      const { directory } = runner().containerd;
      const { namespace } = runner().ctr;
      const [qemuFile, clhFile] = [join(directory, "hull.yaml"), join(directory, "hull-clh.yaml")];
      await writeConfig(qemuFile, { hypervisor: { default_memory: 200, default_vcpus: 2 } });
      // Its user must be able to enter it.
      programs = await mkdtemp(join(tmpdir(), "hull-e2e-clh-"));
      await chmod(programs, 0o755);
      const path = fakeCloudHypervisor(programs);
      await writeConfig(clhFile, {
        hypervisor: {
          type: "cloud-hypervisor",
          path,
          accel: "kvm",
          default_memory: 300,
          default_vcpus: 3,
          kernel_params: ["loglevel=5"],
        },
        agent: { boot_timeout: "10s" },
      });
      const [first, second] = [runner().id(), runner().id()];
      const flags = (file: string) => ["--runtime-config-path", file];
      const qemu = runner().start(["sh", "-c", "echo ready; nproc; read line; exit 4"], {
        id: first,
        flags: flags(qemuFile),
        holdStdin: true,
      });
      const clh = runner().run(["true"], { id: second, flags: flags(clhFile) });

      const tooEarly = clh.then(({ stderr }) => assert.fail(`hull-clh exited before its VM ran: ${stderr}`));
      const socket = `/run/hull/${namespace}/${second}/vm/clh.sock`;
      const { info } = await Promise.race([runningCloudHypervisor(socket), tooEarly]);
      const config = info.config as unknown as VmConfig;
      assert.equal(config.memory?.size, 300 << 20);
      assert.equal(config.memory?.shared, true);
      assert.equal(config.cpus?.boot_vcpus, 3);
      assert.match(config.payload.cmdline ?? "", /loglevel=5$/);
      assert.match(config.vsock?.socket ?? "", /^\/proc\/self\/fd\/\d+\/clh\/vs$/);
      assert.equal(config.fs?.length, 1);

      await qemu.printed("ready\n2\n");
      const [argv = []] = await commandLines("qemu-system-x86_64", `${namespace}/${first}`);
      assert.equal(argv[argv.indexOf("-m") + 1], "200M");
      assert.equal(argv[argv.indexOf("-smp") + 1], "2");
      assert.deepEqual(await commandLines("qemu-system-x86_64", `${namespace}/${second}`), []);
      assert.deepEqual(await commandLines("vhost-device-vsock", `${namespace}/${second}`), []);

      const failed = await clh;
      assert.notEqual(failed.code, 0);
      assert.match(failed.stderr, /the guest agent did not answer/);
      qemu.closeStdin();
      assert.equal((await qemu.ended).code, 4);
    });

    it("runs a pod in a microvm, and refuses it in a file with templates", async () => {
      const { namespace } = runner().ctr;
      const id = runner().id();
      const file = join(runner().containerd.directory, "microvm.yaml");
      const flags = ["--runtime-config-path", file];
      await writeConfig(file, { hypervisor: { machine_type: "microvm", template: { enable: false } } });
      const pod = runner().start(
        ["sh", "-c", "ls /sys/bus/pci/devices 2>/dev/null | wc -l; read line; exit 5"],
        {
          ...{ id, flags, holdStdin: true },
        },
      );
      await pod.printed("0\n"); // it has no PCI devices
      const [argv = []] = await commandLines("qemu-system-x86_64", `${namespace}/${id}`);
      assert.match(argv[argv.indexOf("-machine") + 1] ?? "", /^microvm,/);
      pod.closeStdin();
      assert.equal((await pod.ended).code, 5);

      await writeConfig(file, { hypervisor: { machine_type: "microvm" } });
      const refused = await runner().run(["true"], { flags });
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /hypervisor\.machine_type: a microvm does not support hotplug/);
    });
  },
  ["hull"],
  newestLine(),
);
