/** Pods and containers as the kubelet creates them: namespaces, names, independent life cycles. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { IDLE } from "../testkit/cri.ts";
import { PodSandboxState } from "../testkit/proto/generated/runtime/v1/pod.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

const POD = 0;
const CONTAINER = 1;
const NODE = 2;
const pidMode = (pid: number) => ({ linux: { securityContext: { namespaceOptions: { pid } } } });

/** Containers in one pod: 30 and more work, but each takes a second on an emulated CPU. */
const MANY = Number(process.env.HULL_E2E_CONTAINERS ?? 6);

forEveryHandler(
  "pods",
  (target, handler) => {
    const pod = sharedPod(target, {
      hostname: "podhost",
      dnsConfig: { servers: ["10.0.0.10"], searches: ["svc.local"], options: ["ndots:5"] },
      linux: {
        sysctls: { "net.ipv4.ip_forward": "1", "net.core.somaxconn": "777", "kernel.shm_rmid_forced": "1" },
      },
    });

    it("gives its containers host name, name service, hosts and sysctls", async () => {
      const container = await pod().run(IDLE);
      const { stdout } = await container.sh(
        "hostname; sort /etc/resolv.conf; cd /proc/sys; cat net/ipv4/ip_forward net/core/somaxconn kernel/shm_rmid_forced",
      );
      assert.equal(stdout, "podhost\nnameserver 10.0.0.10\noptions ndots:5\nsearch svc.local\n1\n777\n1\n");
      assert.match((await container.sh("cat /etc/hosts")).stdout, /127\.0\.0\.1\s+localhost/);
    });

    it("has the address that the kubelet gets", async () => {
      const { network } = await pod().status();
      const container = await pod().run(IDLE);
      const { stdout } = await container.sh("ip -o -4 addr show dev eth0");
      assert.ok(network?.ip && stdout.includes(`inet ${network.ip}/`), `${network?.ip}: ${stdout}`);
    });

    it("shares network, System V IPC and /dev/shm among its containers, with the size from CRI", async () => {
      const first = await pod().run(IDLE);
      const second = await pod().run(IDLE);
      await first.sh("echo shared >/dev/shm/file; nc -l -p 4000 -e echo tcp >/dev/null 2>&1 &");
      assert.equal(
        (await second.sh("cat /dev/shm/file; until nc 127.0.0.1 4000 </dev/null; do sleep 0.1; done")).stdout,
        "shared\ntcp\n",
      );
      const { stdout } = await second.sh("df -k /dev/shm | tail -n 1; grep ' /dev/shm ' /proc/mounts");
      assert.match(stdout, /^shm +65536 .*\nshm \/dev\/shm tmpfs .*nosuid.*/);
      for (const namespace of ["ipc", "uts", "net"]) {
        const [one, other] = await Promise.all(
          [first, second].map((container) => container.sh(`readlink /proc/self/ns/${namespace}`)),
        );
        assert.equal(one?.stdout, other?.stdout, namespace);
      }
    });

    it("isolates its containers' processes, or shares them on request", async () => {
      const own = await pod().run(IDLE, pidMode(CONTAINER));
      assert.match((await own.sh("cat /proc/1/cmdline")).stdout, /^sh\0-c/);

      const first = await pod().run(["sleep", "4711"], pidMode(POD));
      const second = await pod().run(IDLE, pidMode(POD));
      const seen = await second.sh("ps -o comm,args");
      assert.match(seen.stdout, /sleep 4711/);
      assert.doesNotMatch(seen.stdout, /kthreadd|virtiofs/, "the guest's own processes are not visible");
      // The namespace's init reaps an orphan of a container that keeps running.
      await second.sh("(sleep 0.1 &)");
      await first.stop(0);
      const { stdout } = await second.sh(
        "while ps -o stat,args | grep -qE '^Z|sleep 0\\.1'; do sleep 0.2; done; ps -o stat,args; echo alive",
      );
      assert.match(stdout, /alive\n$/);
      assert.doesNotMatch(stdout, /sleep 4711|^Z/m);
    });

    it("survives its containers: one fails, one is killed, one cannot be started; each can be recreated", async () => {
      const bystander = await pod().run(IDLE);
      const failing = await pod().run(["sh", "-c", "exit 7"]);
      assert.equal((await failing.exited()).exitCode, 7);
      const killed = await pod().run(["sh", "-c", "kill -9 $$"]);
      assert.ok((await killed.exited()).exitCode === 137);
      const missing = await pod().create(["/no/such/program"]);
      await assert.rejects(missing.start(), /no such file|not found/i);
      const again = await pod().run(["sh", "-c", "exit 0"], { metadata: { name: "again", attempt: 1 } });
      assert.equal((await again.exited()).exitCode, 0);
      assert.equal((await bystander.sh("echo alive")).stdout, "alive\n");
      assert.equal((await pod().status()).state, PodSandboxState.SANDBOX_READY);
    });

    it(`holds ${MANY} containers, which are removed in any order`, async () => {
      const containers = [];
      for (let index = 0; index < MANY; index += 4) {
        const few = Array.from({ length: Math.min(4, MANY - index) }, () => pod().run(IDLE));
        containers.push(...(await Promise.all(few)));
      }
      const names = await Promise.all(containers.map((container, index) => container.sh(`echo ${index}`)));
      assert.deepEqual(
        names.map(({ stdout }) => stdout),
        containers.map((_, index) => `${index}\n`),
      );
      const odd = containers.filter((_, index) => index % 2 === 1);
      const even = containers.filter((_, index) => index % 2 === 0).reverse();
      for (const container of [...odd, ...even]) await container.remove();
    });

    for (const namespace of ["network", "pid", "ipc"] as const) {
      const panics = handler === "hull-sandbox" && namespace === "network";
      const skip =
        (handler === "runc" && "runc has no VM") ||
        (panics &&
          "containerd 2.0 to 2.2 panic when a pod with the host's network uses a shim as its sandboxer");
      it(`is refused the host's ${namespace} namespace, with an explanation`, { skip }, async () => {
        const linux = { securityContext: { namespaceOptions: { [namespace]: NODE } } };
        await assert.rejects(target().runPod({ linux }), /cannot be shared with a VM; remove/);
      });
    }
  },
  ["1.6", "2"],
);
