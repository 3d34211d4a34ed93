/** The seccomp filter for programs without one: Unix sockets still work, and dangerous calls are denied. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { ROOT } from "../testkit/containerd.ts";

const FILTER = join(ROOT, "dist/libexec/seccomp-exec");
const run = (...argv: readonly string[]) => promisify(execFile)(FILTER, argv);
/** Runs a Node program under the filter: threads, memory and Unix sockets like any daemon. */
const node = async (script: string) =>
  (await run(process.execPath, "--input-type=commonjs", "-e", script)).stdout;

test("a program under seccomp-exec cannot gain privileges, and neither can its children", async () => {
  const { stdout } = await run("/bin/sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status");
  assert.equal(stdout, "NoNewPrivs:\t1\nSeccomp:\t2\n");
});

test("a program under seccomp-exec can serve a Unix socket, and no other", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hull-seccomp-"));
  t.after(() => rm(directory, { recursive: true }));
  const listen = (where: string) => `
    const net = require("node:net");
    const server = net.createServer((socket) => socket.end("bytes")).on("error", (error) => console.log(error.code));
    server.listen(${where}, () => net.connect(server.address()).on("data", (data) => console.log(String(data)))
      .on("close", () => server.close()));`;
  assert.equal(await node(listen(JSON.stringify(join(directory, "socket")))), "bytes\n");
  assert.equal(await node(listen("0")), "EAFNOSUPPORT\n");
});

// Without the filter root may do each of these.
for (const [what, ...argv] of [
  ["namespaces", "unshare", "--user", "true"],
  ["namespaces by clone", "unshare", "--fork", "--pid", "true"],
  ["entering a namespace", "nsenter", "--net=/proc/self/ns/net", "true"],
  ["chroot", "chroot", "/", "/bin/true"],
  ["the kernel's log", "dmesg", "--syslog"],
] as const) {
  test(`denied: ${what}`, async () => {
    const command = ["sh", "-c", 'PATH=$PATH:/usr/sbin:/sbin exec "$@"', "sh", ...argv];
    await promisify(execFile)(command[0] ?? "", command.slice(1));
    await assert.rejects(run("/bin/sh", ...command.slice(1)), /Operation not permitted|permission denied/i);
  });
}

test("seccomp-exec reports a missing program", async () => {
  await assert.rejects(run("/no/such/program"), { code: 127 });
  await assert.rejects(run(), { code: 2 });
});
