import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMountInfo } from "../core/mountinfo.ts";
import { hierarchies } from "./hierarchies.ts";

const read = (mounts: string, own: string) => hierarchies(parseMountInfo(mounts), own);

test("v2: one hierarchy at the root", () => {
  const mounts = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
  assert.deepEqual(read(mounts, "0::/system.slice/containerd.service\n"), [
    {
      ...{ version: 2, mount: "/sys/fs/cgroup", controllers: [] },
      own: "/sys/fs/cgroup/system.slice/containerd.service",
    },
  ]);
});

test("v1 and hybrid: one for each set of controllers, the named one and v2", () => {
  const mounts = `24 20 0:20 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 90 0:29 / /var/lib/x/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`;
  const own = "3:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n";
  assert.deepEqual(
    read(mounts, own).map(({ version, mount, own }) => [version, mount, own]),
    [
      [2, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/init.scope"],
      [1, "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd/init.scope"],
      [1, "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"],
      [1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a/b"],
    ],
  );
});

test("in a container only a part of the hierarchy is mounted", () => {
  const mounts = "33 24 0:29 /docker/c1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
  const own = (path: string) => read(mounts, `3:memory:${path}\n`)[0]?.own;
  assert.equal(own("/docker/c1/x"), "/sys/fs/cgroup/memory/x");
  assert.equal(own("/elsewhere"), "/sys/fs/cgroup/memory");
  assert.equal(own("/docker/c1"), "/sys/fs/cgroup/memory");
});

test("a host without cgroups, or with read-only ones, has none", () => {
  assert.deepEqual(read("30 20 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n", "0::/\n"), []);
  assert.deepEqual(read("24 20 0:20 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n", "0::/\n"), []);
});

test("systemd manages v2 at the root, not the v2 of a hybrid host", () => {
  const of = (mounts: string) => hierarchies(parseMountInfo(mounts), "0::/\n1:name=systemd:/\n", true);
  const v2 = (target: string) => `30 20 0:26 / ${target} rw - cgroup2 cgroup2 rw\n`;
  assert.deepEqual(
    [v2("/sys/fs/cgroup"), v2("/sys/fs/cgroup/unified")].map((mounts) => of(mounts)[0]?.systemd),
    [true, undefined],
  );
});
