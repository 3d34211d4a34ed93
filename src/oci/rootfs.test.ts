import assert from "node:assert/strict";
import { test } from "node:test";
import { rootDisk } from "./rootfs.ts";

const mount = (more: object = {}) => ({
  ...{ type: "ext4", source: "/images/1", target: "", options: ["loop"] },
  ...more,
});

test("one ext4 file system is a disk: an image with the option loop, or a device", () => {
  const disk = { path: "/images/1", image: true, fsType: "ext4", readOnly: false, options: [] };
  assert.deepEqual(rootDisk([mount()]), disk);
  assert.deepEqual(rootDisk([mount({ options: ["loop", "ro", "discard"] })]), {
    ...disk,
    readOnly: true,
    options: ["discard"],
  });
  assert.equal(rootDisk([mount({ source: "/dev/dm-0", options: ["rw"] })])?.image, false);
});

test("everything else is mounted on the host", () => {
  for (const mounts of [
    [],
    [mount({ type: "overlay" })],
    [mount({ type: "xfs" })],
    [mount({ target: "sub" })],
    [mount(), mount()],
  ])
    assert.equal(rootDisk(mounts), undefined, JSON.stringify(mounts));
});
