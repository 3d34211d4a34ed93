/** Builds the guest: kernel, initrd, manifest. */
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
import { buildProgram } from "../build/qjs.ts";
import { compilerVersion, ROOT, sha256 } from "../run.ts";
import { archive } from "./cpio.ts";
import { staticCrun } from "./crun.ts";
import type { Kernel } from "./kernel.ts";

/** The inputs other than kernel and crun, which have keys of their own. */
const INPUTS = [
  "guest-agent",
  "src/core",
  "src/ttrpc",
  "src/proto",
  "hack/lib/guest-image",
  "hack/lib/build/qjs.ts",
  "package.json",
  "package-lock.json",
];

function filesBelow(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesBelow(join(path, name)));
}

/** The size and hash of a file, to check that it is the one that was built. */
interface BuiltFile {
  readonly size: number;
  readonly sha256: string;
}

/** manifest.json of a guest. */
interface Manifest {
  /** A hash of all inputs. */
  readonly inputs: string;
  readonly kernel: { readonly release: string; readonly package: string };
  /** The version of crun's package. */
  readonly crun: string;
  readonly agent: BuiltFile;
  readonly vmlinux: BuiltFile;
  readonly initrd: BuiltFile;
}

interface GuestOptions {
  readonly kernel: Kernel;
  /** The output directory. */
  readonly out: string;
  /** Build even if the inputs have not changed. */
  readonly force: boolean;
  /** The program that runs as /init instead of the agent. */
  readonly main?: string | undefined;
}

const AGENT = join(ROOT, "guest-agent/src/main.ts");

/** Reads the manifest of the guest in a directory. */
export function readManifest(out: string): Manifest {
  return JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
}

/** Returns a hash of all inputs. */
function inputsKey(keys: readonly string[], main: string): string {
  const hash = createHash("sha256");
  hash.update(keys.join("\n"));
  hash.update(compilerVersion());
  for (const path of [...INPUTS.map((name) => join(ROOT, name)), main].flatMap(filesBelow)) {
    hash.update(`${relative(ROOT, path)}\0`).update(readFileSync(path));
  }
  return hash.digest("hex");
}

function describeFile(path: string): BuiltFile {
  const bytes = readFileSync(path);
  return { size: bytes.length, sha256: sha256(bytes) };
}

/** Replaces a directory of files, or removes it if there are none. A pod that has mounted the old one finds it empty. */
function placeDirectory(directory: string, files: ReadonlyMap<string, string | Buffer>): void {
  rmSync(`${directory}.new`, { recursive: true, force: true });
  if (files.size > 0) mkdirSync(`${directory}.new`);
  for (const [name, content] of files) writeFileSync(join(`${directory}.new`, name), content);
  rmSync(directory, { recursive: true, force: true });
  if (files.size > 0) renameSync(`${directory}.new`, directory);
}

/** Builds the guest in `out` unless the guest there has the same inputs. */
export function buildGuest({ kernel, out, force, main = AGENT }: GuestOptions): void {
  const crun = staticCrun();
  const inputs = inputsKey([kernel.key, crun.key], main);
  const manifest = join(out, "manifest.json");
  const present = ["vmlinux", "initrd.img", "manifest.json"].every((name) => existsSync(join(out, name)));
  if (!force && present && readManifest(out).inputs === inputs) return;

  const work = mkdtempSync(join(tmpdir(), "hull-guest-"));
  try {
    const agent = join(work, "hull-agent");
    buildProgram(main, agent);
    const initrd = archive([
      { name: "init", kind: "file", mode: 0o755, data: readFileSync(agent) },
      // The kernel opens it before /init has mounted anything.
      { name: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
      ...["proc", "sys", "run", "tmp"].map((name) => ({ name, kind: "directory" }) as const),
      { name: "usr/bin/crun", kind: "file", mode: 0o755, data: readFileSync(crun.program) },
      ...kernel.entries(work),
    ]);
    mkdirSync(out, { recursive: true });
    const place = (name: string, bytes: string | Buffer) => {
      // A running VM or another build may have the old file open.
      writeFileSync(join(out, `${name}.new`), bytes);
      renameSync(join(out, `${name}.new`), join(out, name));
    };
    // The manifest is valid only with the other files, so it is removed first and written last.
    rmSync(manifest, { force: true });
    placeDirectory(join(out, "modules"), kernel.modulesOnDemand(work));
    place("vmlinux", kernel.vmlinux());
    place("initrd.img", initrd);
    const content: Manifest = {
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
}
