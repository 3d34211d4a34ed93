import assert from "node:assert/strict";
import { test } from "node:test";
import { POD_PID_NAMESPACE } from "../core/guest-paths.ts";
import { guestSpec } from "./guest-spec.ts";

const place = {
  containerId: "c",
  rootfs: "/run/hull/shared/c/rootfs",
  vcpus: 1,
  share: async ({ destination }: { destination: string }) => `/shared${destination}`,
  podShm: "/run/sandboxes/p/shm",
};

test("no path of a host's namespace reaches the guest; a PID namespace with one is the pod's", async () => {
  const namespaces = [
    { type: "pid", path: "/proc/4711/ns/pid" },
    { type: "ipc", path: "/proc/4711/ns/ipc" },
    { type: "network", path: "/run/netns/x" },
    { type: "mount" },
  ];
  const { linux } = await guestSpec({ linux: { namespaces } }, place);
  assert.deepEqual(linux?.namespaces, [
    { type: "pid", path: POD_PID_NAMESPACE },
    { type: "mount" },
    { type: "cgroup" },
  ]);
  const own = await guestSpec({ linux: { namespaces: [{ type: "pid" }, { type: "cgroup" }] } }, place);
  assert.deepEqual(own.linux?.namespaces, [{ type: "pid" }, { type: "cgroup" }]);
});

test("the pod's shared memory is the guest's own, a volume at /dev/shm is not", async () => {
  const bind = (source: string) => ({ destination: "/dev/shm", type: "bind", source, options: ["rbind"] });
  const source = async (from: string) =>
    (await guestSpec({ mounts: [bind(from)] }, place)).mounts?.[0]?.source;
  assert.equal(await source(place.podShm), "/dev/shm");
  assert.equal(await source("/var/lib/volume"), "/shared/dev/shm");
});
