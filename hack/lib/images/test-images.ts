#!/usr/bin/env node
/**
 * Usage: test-images.mjs BUSYBOX PAUSE OUTPUT
 * Writes the OCI layout tar with `hull.test/busybox:latest` (BUSYBOX, a static busybox with a link per applet) and
 * `hull.test/pause:latest` (PAUSE, a static program).
 */
import { execFileSync } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { ociLayout } from "./oci-image.mjs";

const [busybox, pause, output] = process.argv.slice(2);
if (!output) {
  console.error("usage: test-images.mjs BUSYBOX PAUSE OUTPUT");
  process.exit(2);
}

const text = (path, content, mode = 0o644) => ({ path, type: "file", mode, data: Buffer.from(content) });
const directory = (path, mode = 0o755) => ({ path: `${path}/`, type: "directory", mode });

const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" })
  .split("\n")
  .filter((applet) => applet !== "" && applet !== "busybox")
  .sort();

const busyboxFiles = [
  ...["bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var"].map((path) =>
    directory(path),
  ),
  { ...directory("home/test"), uid: 1000, gid: 1000 },
  directory("root", 0o700),
  directory("tmp", 0o1777),
  text(
    "etc/passwd",
    "root:x:0:0:root:/root:/bin/sh\ntest:x:1000:1000:test:/home/test:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
  ),
  text("etc/group", "root:x:0:\ndaemon:x:1:test\ntest:x:1000:\nextra:x:2000:test\nnogroup:x:65534:\n"),
  text("etc/shadow", "root:*:1:0:99999:7:::\ntest:*:1:0:99999:7:::\n", 0o600),
  { path: "bin/busybox", type: "file", mode: 0o755, data: readFileSync(busybox) },
  ...applets.map((applet) => ({
    path: `bin/${applet}`,
    type: "hardlink",
    mode: 0o755,
    target: "bin/busybox",
  })),
];

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const images = [
  { name: "hull.test/busybox:latest", files: busyboxFiles, config: { Env: [PATH], Cmd: ["sh"] } },
  {
    name: "hull.test/pause:latest",
    files: [{ path: "pause", type: "file", mode: 0o755, data: readFileSync(pause) }],
    config: { Env: [PATH], Entrypoint: ["/pause"] },
  },
];

const architecture = { x64: "amd64", arm64: "arm64" }[process.arch];
if (!architecture) throw new Error(`no OCI architecture name known for ${process.arch}`);
writeFileSync(`${output}.part`, ociLayout(images, architecture));
renameSync(`${output}.part`, output);
