import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { MemoryLedger } from "../../test/testkit/memory-ledger.ts";
import { within } from "../../test/testkit/within.ts";
import { startVirtiofsd } from "./virtiofsd.ts";
import { flavourOf, virtiofsdArguments } from "./virtiofsd-command-line.ts";

let directory: string;
let ledger: MemoryLedger;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hull-fsd-"));
  ledger = new MemoryLedger();
});
afterEach(() => rm(directory, { recursive: true }));

async function fakeDaemon(script: string): Promise<string> {
  const path = join(directory, "virtiofsd");
  await writeFile(
    path,
    `#!/bin/sh\n[ "$1" = --help ] && echo "    --shared-dir <DIR>" && exit 0\n${script}\n`,
  );
  await chmod(path, 0o755);
  return path;
}

const spec = (path: string) =>
  ({ path, cache: "auto", extraArgs: [], directory, shared: "/srv/x", pod: "test/fs" }) as const;

test("the implementation is recognized by its options", () => {
  assert.equal(flavourOf("    -o source=PATH             shared directory tree\n"), "c");
  assert.equal(flavourOf("      --shared-dir <SHARED_DIR>\n"), "rust-old");
  assert.equal(flavourOf("      --shared-dir <SHARED_DIR>\n      --no-announce-submounts\n"), "rust");
  assert.equal(flavourOf("usage: something else"), undefined);
});

test("both command lines", () => {
  const options = { shared: "/srv/a,b", fd: 0, cache: "never", extraArgs: ["--x"] } as const;
  assert.deepEqual(virtiofsdArguments("c", options).slice(0, 6), [
    "-f",
    "--fd=0",
    "-o",
    "source=/srv/a\\,b",
    "-o",
    "cache=none",
  ]);
  const auto = virtiofsdArguments("c", { ...options, cache: "auto" });
  assert.ok(auto.includes("cache=always") && auto.includes("timeout=1"));
  const rust = virtiofsdArguments("rust", options);
  assert.ok(rust.includes("--no-announce-submounts"));
  assert.ok(!virtiofsdArguments("rust-old", options).includes("--no-announce-submounts"));
  assert.ok(rust.includes("--inode-file-handles=never"), "by handle it would reach all files of the host");
  assert.ok(
    rust.includes("--shared-dir=/srv/a,b") && rust.includes("--cache=never") && rust.at(-1) === "--x",
  );
});

test("the socket accepts connections at once, and stop leaves nothing", async () => {
  const path = await fakeDaemon("exec sleep 60");
  const daemon = await startVirtiofsd(spec(path), ledger, within(30_000));
  const client = createConnection(daemon.socket);
  await new Promise((resolve, reject) => client.once("connect", resolve).once("error", reject));
  client.destroy();
  await daemon.stop(within(30_000));
  assert.deepEqual(ledger.resources, []);
  assert.deepEqual(await readdir(directory), ["virtiofsd"]);
});

test("a daemon that exits at once is reported through `exited`", async () => {
  const path = await fakeDaemon("echo 'bad option' >&2; exit 1");
  const daemon = await startVirtiofsd(spec(path), ledger, within(30_000));
  assert.equal((await daemon.process.exited).reason, "virtiofsd exited with status 1: bad option");
  await daemon.stop(within(30_000));
  assert.deepEqual(ledger.resources, []);
});

test("a missing daemon, an unknown one and a long path are refused with advice", async () => {
  await assert.rejects(startVirtiofsd(spec("/none/virtiofsd"), ledger, within(30_000)), {
    code: "FailedPrecondition",
  });
  await assert.rejects(startVirtiofsd(spec("/bin/true"), ledger, within(30_000)), {
    code: "FailedPrecondition",
    message: /virtio_fs_daemon/,
  });
  const path = await fakeDaemon("exit 0");
  await assert.rejects(
    startVirtiofsd({ ...spec(path), directory: `/run/${"x".repeat(120)}` }, ledger, within(30_000)),
    { code: "InvalidArgument" },
  );
  assert.deepEqual(ledger.resources, []);
});
