// Makes the guest: kernel, initrd, manifest. Called by hack/build-guest and hack/build-kernel.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { archive } from "./cpio.mjs";
import { staticCrun } from "./crun.mjs";
import { compilerVersion, ROOT, run, sha256 } from "./sources.mjs";

/**
 * @typedef {object} Kernel
 * @property {string} key changes when anything that it is made of does
 * @property {string} version of the Debian package that it comes from
 * @property {string} release as `uname -r` tells it
 * @property {() => Buffer} vmlinux an ELF file with a PVH entry
 * @property {(work: string) => import("./cpio.mjs").Entry[]} entries what the initrd needs for it; `work` is a scratch folder
 */

/** What the result depends on besides kernel and crun, which have keys of their own. */
const INPUTS = [
  "guest-agent",
  "src/core",
  "src/ttrpc",
  "src/proto",
  "hack/lib",
  "package.json",
  "package-lock.json",
];

function filesBelow(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesBelow(join(path, name)));
}

/** A hash of everything that goes into the guest. */
function inputsKey(keys, main) {
  const hash = createHash("sha256");
  hash.update(keys.join("\n"));
  hash.update(compilerVersion());
  for (const path of [...INPUTS.map((name) => join(ROOT, name)), main].flatMap(filesBelow)) {
    hash.update(`${relative(ROOT, path)}\0`).update(readFileSync(path));
  }
  return hash.digest("hex");
}

function describeFile(path) {
  const bytes = readFileSync(path);
  return { size: bytes.length, sha256: sha256(bytes) };
}

/**
 * Builds into `out` unless what lies there was made of the same inputs. Returns whether it built.
 * @param {{kernel: Kernel, out: string, force: boolean, main?: string}} options
 */
export function buildGuest({ kernel, out, force, main = join(ROOT, "guest-agent/src/main.ts") }) {
  const crun = staticCrun();
  const inputs = inputsKey([kernel.key, crun.key], main);
  const manifest = join(out, "manifest.json");
  const present = ["vmlinux", "initrd.img", "manifest.json"].every((name) => existsSync(join(out, name)));
  if (!force && present && JSON.parse(readFileSync(manifest, "utf8")).inputs === inputs) return false;

  const work = mkdtempSync(join(tmpdir(), "hull-guest-"));
  try {
    const agent = join(work, "hull-agent");
    run(join(ROOT, "hack/lib/qjs-build"), [main, agent]);
    const initrd = archive([
      { name: "init", kind: "file", mode: 0o755, data: readFileSync(agent) },
      // The kernel opens it before /init has mounted anything.
      { name: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
      ...["proc", "sys", "run", "tmp"].map((name) => ({ name, kind: "directory" })),
      { name: "usr/bin/crun", kind: "file", mode: 0o755, data: readFileSync(crun.program) },
      ...kernel.entries(work),
    ]);
    mkdirSync(out, { recursive: true });
    const place = (name, bytes) => {
      // A running VM or another build may have the old file open.
      writeFileSync(join(out, `${name}.new`), bytes);
      renameSync(join(out, `${name}.new`), join(out, name));
    };
    // The manifest vouches for the others: gone first, back last.
    rmSync(manifest, { force: true });
    place("vmlinux", kernel.vmlinux());
    place("initrd.img", initrd);
    const content = {
      inputs,
      kernel: { release: kernel.release, package: kernel.version },
      crun: crun.version,
      agent: describeFile(agent),
      vmlinux: describeFile(join(out, "vmlinux")),
      initrd: describeFile(join(out, "initrd.img")),
    };
    place("manifest.json", `${JSON.stringify(content, null, 2)}\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return true;
}
