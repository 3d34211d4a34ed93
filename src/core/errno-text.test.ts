import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { test } from "node:test";
import { getSystemErrorMap, getSystemErrorName } from "node:util";
import { systemError } from "../host/addon.ts";
import { withErrnoText } from "./errno-text.ts";
import { HullError } from "./errors.ts";

test("the texts are libuv's", () => {
  for (const [errno, text] of getSystemErrorMap().values()) {
    const shown = withErrnoText(errno, errno);
    if (shown !== errno) assert.equal(shown, text);
  }
  assert.equal(withErrnoText("EACCES", "EACCES"), "permission denied");
});

test("an error for which Node gives only the errno's name gets its text", async () => {
  const none = "/no/such/file";
  const [spawned] = await once(spawn(none), "error").catch((error: unknown) => [error]);
  const [connected] = await once(connect(none), "error").catch((error: unknown) => [error]);
  assert.equal(HullError.from(spawned).message, `spawn ${none} ENOENT: no such file or directory`);
  assert.equal(HullError.from(connected).message, `connect ENOENT ${none}: no such file or directory`);
  const exhausted = Object.assign(new Error("spawn qemu EAGAIN"), { code: "EAGAIN" });
  assert.match(
    HullError.from(exhausted).message,
    /^spawn qemu EAGAIN: resource temporarily unavailable; no more/,
  );
});

test("a message that has the text already stays as it is", async () => {
  const read = await readFile("/no/such/file").catch((error: unknown) => error);
  assert.equal(HullError.from(read).message, "ENOENT: no such file or directory, open '/no/such/file'");
  const guests = Object.assign(new Error("openat2 /x: No such file or directory"), { code: "ENOENT" });
  assert.equal(HullError.from(guests).message, "openat2 /x: No such file or directory");
});

test("an errno that Node does not know gets its name and text", () => {
  const code = getSystemErrorName(-122);
  const write = Object.assign(new Error(`${code}: ${code}, write`), { code });
  const error = HullError.wrap("log file /x", write);
  assert.equal(error.code, "ResourceExhausted");
  assert.match(error.message, /^log file \/x: EDQUOT: disk quota exceeded, write; raise the quota/);
  assert.equal(HullError.from(systemError(-116)).message, "ESTALE: stale file handle");
  assert.equal(HullError.from(systemError(-9999)).message, getSystemErrorName(-9999));
});
