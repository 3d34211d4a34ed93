import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { FakeSys } from "../../../test/testkit/guest-agent/fake-sys.ts";
import { ShareCache } from "./share-cache.ts";

const DROP = "/proc/sys/vm/drop_caches";

describe("share cache", () => {
  let fake: FakeSys;
  let cache: ShareCache;
  let drops: string[];
  /** Files in use, and unused ones in the cache, without and with content. */
  let files = { used: 0, known: 0, cached: 0 };
  const log: string[] = [];

  const show = (): void => {
    const count = files.used + files.known + files.cached;
    fake.tree.write("/proc/sys/fs/inode-nr", `${count + 500}\t7\n`);
    fake.tree.write(
      "/proc/slabinfo",
      `slabinfo - version: 2.1\ndentry 9 9 9\nfuse_inode        ${count}   9999 1\n`,
    );
  };

  beforeEach(() => {
    fake = new FakeSys();
    drops = [];
    log.length = 0;
    for (const directory of ["/proc/sys/fs", "/proc/sys/vm"]) fake.tree.mkdirp(directory);
    fake.tree.write(DROP, "");
    fake.tree.onWrite(DROP, (how) => {
      drops.push(how);
      files = { used: files.used, known: 0, cached: how === "3" ? 0 : files.cached };
      show();
    });
    cache = new ShareCache(fake.sys, (_, text) => log.push(text), 1000);
  });

  const look = (used: number, known: number, cached: number): string[] => {
    files = { used, known, cached };
    show();
    drops.length = 0;
    cache.look();
    return [...drops];
  };

  it("frees unused inodes, and those with cached content only if that is not enough", () => {
    assert.deepEqual(look(10, 900, 0), []);
    assert.deepEqual(look(10, 2000, 0), ["2"]);
    assert.deepEqual(look(10, 100, 2000), ["2", "3"]);
    assert.deepEqual(log, []);
  });

  it("does not retry every second if too many are in use", () => {
    assert.deepEqual(look(2000, 0, 0), ["2", "3"]);
    assert.equal(log.length, 1);
    assert.deepEqual(look(2000, 400, 0), []);
    assert.deepEqual(look(2000, 600, 0), ["2"]);
    assert.deepEqual(look(100, 0, 0), []);
    assert.deepEqual(look(10, 2000, 0), ["2"]);
  });

  it("checks once a second", () => {
    cache.watch();
    files = { used: 0, known: 2000, cached: 0 };
    show();
    fake.advance(999);
    assert.deepEqual(drops, []);
    fake.advance(1);
    assert.deepEqual(drops, ["2"]);
    files.known = 3000;
    show();
    fake.advance(1000);
    assert.deepEqual(drops, ["2", "2"]);
  });
});
