import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { rootDisk } from "./root-disk.ts";

let directory = "";
let image = "";
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-root-disk-"));
  image = join(directory, "image");
  await writeFile(image, "");
});
after(() => rm(directory, { recursive: true }));

const mount = (more: object = {}) => ({
  ...{ type: "ext4", source: image, target: "", options: ["loop"] },
  ...more,
});

test("an ext4 image with the option loop is a disk", async () => {
  const disk = { path: image, fsType: "ext4", readOnly: false, options: [] };
  assert.deepEqual(await rootDisk([mount()]), disk);
  assert.deepEqual(await rootDisk([mount({ options: ["loop", "ro", "discard"] })]), {
    ...disk,
    readOnly: true,
    options: ["discard"],
  });
});

test("everything else is mounted on the host", async () => {
  for (const mounts of [
    [],
    [mount({ type: "overlay" })],
    [mount({ type: "xfs" })],
    [mount({ target: "sub" })],
    [mount({ options: [] })],
    [mount({ source: directory })],
    [mount(), mount()],
  ])
    assert.equal(await rootDisk(mounts), undefined, JSON.stringify(mounts));
});

test("an image that is not there is NotFound", async () => {
  await assert.rejects(rootDisk([mount({ source: join(directory, "none") })]), { code: "NotFound" });
});
