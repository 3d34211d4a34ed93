/** Volumes whose file server never answers: FUSE that nothing serves. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdirSync, mkdtempSync, openSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { ownMountApi } from "../../test/testkit/mount-api.ts";
import { within } from "../../test/testkit/within.ts";
import { Deadline } from "../core/deadline.ts";
import type { MountApi } from "../host/mount-api.ts";
import { SharedTree } from "./shared-tree.ts";

const deadline = within(60_000);
let root: string;
let volume: string;
let server: number;
let api: MountApi;
let share: SharedTree;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "hull-silent-"));
  volume = join(root, "volume");
  mkdirSync(volume);
  server = openSync("/dev/fuse", constants.O_RDWR);
  const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
  const argv = ["--internal-only", "--types", "fuse", "--options", options, "silent", volume];
  const [status] = await once(
    spawn("mount", argv, { stdio: ["ignore", "ignore", "inherit", server] }),
    "exit",
  );
  assert.equal(status, 0);
  api = ownMountApi();
  share = await SharedTree.create(join(root, "shared"), api, deadline);
});
afterEach(async () => {
  await share.dispose(deadline);
  await api.unmount(volume);
  await rm(root, { recursive: true });
});

/** Requests to the server fail once its end is closed. */
const end = () => closeSync(server);

test("waiting for it does not block the thread pool", async () => {
  const short = Deadline.after(200, "create a container");
  const paths = Array.from({ length: 8 }, (_, index) => (index % 2 ? volume : join(volume, "directory")));
  const adding = paths.map((path) => share.addBind(path, ["rbind"], short));
  for (const outcome of await Promise.allSettled(adding)) {
    assert.equal(outcome.status, "rejected");
    assert.equal(outcome.reason.code, "DeadlineExceeded");
  }
  assert.match(await deadline.race(readFile("/proc/self/status", "latin1")), /^Name:/);
  await deadline.race(share.addBind("/etc", ["rbind"], deadline).then((etc) => etc.release(deadline)));
  end();
});

test("no more than 256 calls wait; further ones are refused, and teardown still works", async () => {
  const waiting = Array.from({ length: 256 }, () => api.find(join(volume, "directory")));
  await assert.rejects(api.find("/etc"), { code: "ResourceExhausted", message: /do not answer/ });
  await deadline.race(api.unmount(join(root, "shared/tree")));
  end();
  for (const outcome of await Promise.allSettled(waiting)) assert.equal(outcome.status, "rejected");
  (await api.find("/etc")).close();
});
