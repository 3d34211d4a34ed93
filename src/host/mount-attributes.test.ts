import assert from "node:assert/strict";
import { test } from "node:test";
import { bindAttributes, READ_ONLY } from "./mount-attributes.ts";

const NOSUID = 2;
const NOEXEC = 8;
const NOATIME = 0x10;
const ACCESS_TIME = 0x70;

test("a bind's options: for its top, for all mounts; the later of two contradicting ones wins", () => {
  const slave = { set: 0, clear: 0, propagation: "slave" };
  assert.deepEqual(bindAttributes([]), { recursive: false, top: { set: 0, clear: 0 }, all: slave });
  assert.deepEqual(bindAttributes(["rbind", "ro", "nosuid", "unknown", "constructor"]), {
    recursive: true,
    top: { set: READ_ONLY | NOSUID, clear: 0 },
    all: slave,
  });
  assert.deepEqual(bindAttributes(["rbind", "rro", "rnoexec"]).all, { ...slave, set: READ_ONLY | NOEXEC });
  assert.equal(bindAttributes(["ro", "rw"]).top.set, 0);
  assert.equal(bindAttributes(["rw", "ro"]).top.set, READ_ONLY);
  assert.deepEqual(bindAttributes(["noatime"]).top, { set: NOATIME, clear: ACCESS_TIME });
  assert.deepEqual(bindAttributes(["noatime", "relatime"]).top, { set: 0, clear: ACCESS_TIME });
});

test("a bind is never a peer of its source", () => {
  const kind = (option: string) => bindAttributes(["rbind", option]).all.propagation;
  for (const option of ["rshared", "shared", "rslave", "slave"]) assert.equal(kind(option), "slave");
  for (const option of ["rprivate", "private", "unbindable"]) assert.equal(kind(option), "private");
});
