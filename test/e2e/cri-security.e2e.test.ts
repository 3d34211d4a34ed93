/** A container's securityContext is applied in the guest. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { type ContainerSettings, IDLE } from "../testkit/cri.ts";
import { forEveryHandler, sharedPod } from "./cri-fixture.ts";

type Security = NonNullable<NonNullable<NonNullable<ContainerSettings>["linux"]>["securityContext"]>;

/** SecurityProfile.ProfileType of CRI. */
const RUNTIME_DEFAULT = 0;
const STATUS = "grep -E '^(Cap(Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status";

forEveryHandler(
  "security context",
  (target, handler) => {
    const pod = sharedPod(target, { linux: { securityContext: { privileged: true } } });
    const run = (securityContext: Security) => pod().run(IDLE, { linux: { securityContext } });

    it("runs as user and group, with supplemental groups (fsGroup), without privilege escalation", async () => {
      const container = await run({
        runAsUser: { value: 1000n },
        runAsGroup: { value: 3000n },
        supplementalGroups: [2000n, 2001n],
        noNewPrivs: true,
      });
      const { stdout } = await container.sh(`id -u; id -g; id -G; touch /file 2>&1; ${STATUS}`);
      const [uid, gid, groups, touched, ...status] = stdout.trim().split("\n");
      assert.deepEqual([uid, gid], ["1000", "3000"]);
      for (const group of ["3000", "2000", "2001"]) assert.ok(groups?.split(" ").includes(group), stdout);
      assert.match(touched ?? "", /Permission denied/);
      assert.ok(status.includes("NoNewPrivs:\t1"), stdout);
      assert.ok(status.includes("CapEff:\t0000000000000000"), stdout);
    });

    it("adds and drops capabilities", async () => {
      const container = await run({
        capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_BIND_SERVICE"] },
      });
      assert.match(
        (await container.sh(STATUS)).stdout,
        /CapEff:\t0000000000000400\nCapBnd:\t0000000000000400/,
      );
      assert.notEqual((await container.sh("touch /f && chown 1:1 /f")).code, 0);
    });

    it("applies the runtime's seccomp profile", async () => {
      const container = await run({ seccomp: { profileType: RUNTIME_DEFAULT } });
      assert.match((await container.sh(STATUS)).stdout, /Seccomp:\t2/);
      assert.match((await container.sh("unshare -m true 2>&1")).stdout, /not permitted/);
    });

    it("has a read-only root file system with writable volumes", async () => {
      const container = await run({ readonlyRootfs: true });
      const { stdout } = await container.sh("touch /x 2>&1; echo ok >/dev/shm/x && cat /dev/shm/x");
      assert.match(stdout, /Read-only file system\nok\n$/);
    });

    it("masks paths that a container must not access", async () => {
      const container = await run({
        maskedPaths: ["/proc/kcore", "/proc/scsi"],
        readonlyPaths: ["/proc/sys", "/proc/sysrq-trigger"],
      });
      const { stdout } = await container.sh(
        "head -c 4 /proc/kcore | wc -c; echo 1 >/proc/sys/vm/swappiness || echo refused; echo h >/proc/sysrq-trigger || echo refused",
      );
      assert.equal(stdout, "0\nrefused\nrefused\n");
    });

    it("is privileged in its VM, not on the host", async () => {
      const container = await run({ privileged: true });
      const { stdout } = await container.sh(
        `mkdir /m && mount -t tmpfs none /m && echo mounted; echo 61 >/proc/sys/vm/swappiness; cat /proc/sys/vm/swappiness; uname -r; ${STATUS}`,
      );
      assert.match(stdout, /^mounted\n61\n/);
      const { release } = await import("node:os");
      assert.equal(stdout.includes(`\n${release()}\n`), handler === "runc");
      assert.match(stdout, /Seccomp:\t0/);
    });
  },
  ["2"],
);
