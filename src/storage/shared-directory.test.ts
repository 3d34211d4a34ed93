import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Deadline } from "../core/deadline.ts";
import { mountAll, mountsBelow, unmountTree } from "../host/mount.ts";
import { GUEST_SHARE, SharedDirectory } from "./shared-directory.ts";

test("a host path is mounted once for all containers, until the last of them goes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hull-share-"));
  const volume = join(folder, "volume");
  mkdirSync(volume);
  writeFileSync(join(folder, "file"), "text");
  const deadline = Deadline.after(20_000);
  const share = await SharedDirectory.create(join(folder, "shared"), deadline);
  const onHost = (guest: string) => join(share.path, guest.slice(GUEST_SHARE.length));
  try {
    const [first, second] = await Promise.all(
      ["c1", "c2"].map((id) => share.addBind(id, volume, ["rbind"], deadline)),
    );
    assert.equal(first, second);
    assert.notEqual(await share.addBind("c1", volume, ["rbind", "ro"], deadline), first);
    const file = await share.addBind("c2", join(folder, "file"), ["rbind"], deadline);
    assert.equal(readFileSync(onHost(file), "utf8"), "text");
    await share.remove("c1", deadline);
    assert.equal((await mountsBelow(share.path)).length, 3); // itself, the volume and the file
    await share.remove("c2", deadline);
    assert.equal((await mountsBelow(share.path)).length, 1);
    assert.ok(!existsSync(onHost(first ?? "")));
    assert.ok(existsSync(volume));
    await assert.rejects(share.addBind("c3", join(folder, "none"), [], deadline), { code: "NotFound" });
  } finally {
    await share.dispose(deadline);
    deadline.dispose();
    rmSync(folder, { recursive: true });
  }
});

test("a recursively read-only volume is read-only with what is mounted in it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hull-share-"));
  const [volume, inner] = [join(folder, "volume"), join(folder, "volume/inner")];
  mkdirSync(inner, { recursive: true });
  const deadline = Deadline.after(20_000);
  const share = await SharedDirectory.create(join(folder, "shared"), deadline);
  try {
    const options = ["nosuid", "nodev"];
    await mountAll([{ type: "tmpfs", source: "tmpfs", target: "", options }], inner, deadline);
    const writable = async (mode: string, path: string) => {
      const guest = await share.addBind("c", volume, ["rbind", mode], deadline);
      const file = join(share.path, guest.slice(GUEST_SHARE.length), path);
      try {
        writeFileSync(file, "");
        return true;
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "EROFS");
        return false;
      }
    };
    assert.deepEqual([await writable("ro", "x"), await writable("ro", "inner/x")], [false, true]);
    assert.deepEqual([await writable("rro", "x"), await writable("rro", "inner/x")], [false, false]);
    writeFileSync(join(inner, "host"), "the host's own mount is as it was");
  } finally {
    await share.dispose(deadline);
    await unmountTree(inner, deadline);
    deadline.dispose();
    rmSync(folder, { recursive: true });
  }
});
