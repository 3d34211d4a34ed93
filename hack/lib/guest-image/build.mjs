// Makes the guest: kernel, initrd, manifest. Called by hack/build-guest.
import { execFileSync } from "node:child_process";
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
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { archive } from "./cpio.mjs";
import { librariesOf } from "./libraries.mjs";
import { moduleOrder, readList } from "./modules.mjs";
import { extractVmlinux } from "./vmlinux.mjs";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const IMAGE = join(ROOT, "guest-agent/image");
const SUITE = "bookworm";
const KERNEL = "linux-image-cloud-amd64";
/** What the result depends on besides the packages, which have their version in their path. */
const INPUTS = [
  "guest-agent",
  "src/core",
  "src/ttrpc",
  "src/proto",
  "hack/lib",
  "package.json",
  "package-lock.json",
];

const run = (command, args) =>
  execFileSync(command, args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

const fetchPackages = (names) =>
  run(join(ROOT, "hack/lib/apt-fetch"), [SUITE, ...names])
    .trim()
    .split("\n");

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function filesBelow(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesBelow(join(path, name)));
}

/** A hash of everything that goes into the guest. */
function inputsKey(packages, main) {
  const hash = createHash("sha256");
  hash.update(packages.join("\n"));
  hash.update(run(process.env.CC ?? "cc", ["--version"]));
  for (const path of [...INPUTS.map((name) => join(ROOT, name)), main].flatMap(filesBelow)) {
    hash.update(`${relative(ROOT, path)}\0`).update(readFileSync(path));
  }
  return hash.digest("hex");
}

/** The package that the meta package stands for, e.g. linux-image-6.1.0-50-cloud-amd64. */
function kernelPackage() {
  const [meta] = fetchPackages([KERNEL]);
  const name = /^Depends: (linux-image-\S+)/m.exec(readFileSync(join(meta, "DEBIAN/control"), "utf8"))?.[1];
  if (!name) throw new Error(`${KERNEL} names no kernel package`);
  return fetchPackages([name])[0];
}

/** crun and the libraries it is linked with. */
function programEntries(packages, work) {
  const standIn = join(work, "libsystemd.so.0");
  run(process.env.CC ?? "cc", [
    ..."-shared -fPIC -Os -s -nostdlib -Wall -Wextra -Werror -Wl,-soname,libsystemd.so.0 -Wl,--build-id=none".split(
      " ",
    ),
    `-Wl,--version-script,${join(IMAGE, "libsystemd.map")}`,
    ...["-o", standIn, join(IMAGE, "libsystemd.c")],
  ]);
  const crun = packages.map((path) => join(path, "usr/bin/crun")).find((path) => existsSync(path));
  if (!crun) throw new Error("crun is in none of the packages of guest-agent/image/packages.list");
  const libraries = librariesOf(crun, packages, { "libsystemd.so.0": standIn });
  return [
    { name: "usr/bin/crun", kind: "file", mode: 0o755, data: readFileSync(crun) },
    ...[...libraries].map(([name, file]) => ({ name, kind: "file", mode: 0o755, data: readFileSync(file) })),
  ];
}

/** The modules, and the list by which the agent loads them. */
function moduleEntries(kernel, work) {
  const [release] = readdirSync(join(kernel, "lib/modules"));
  const folder = join(kernel, "lib/modules", release);
  const order = moduleOrder(folder, readList(join(IMAGE, "modules.list")));
  const entries = order.map(({ name, path }) => {
    const stripped = join(work, basename(path));
    // Without debug sections, type information and signature: nothing of it is used in the guest, and the signature's
    // check is most of a module's loading time under emulation.
    run("objcopy", ["--strip-debug", "--remove-section=.BTF", join(folder, path), stripped]);
    return { name: `lib/modules/${name}.ko`, kind: "file", data: readFileSync(stripped) };
  });
  const list = entries.map(({ name }) => `/${name}\n`).join("");
  return { release, entries: [...entries, { name: "lib/modules/hull.order", kind: "file", data: list }] };
}

const debianVersion = (path) => basename(path).split("_")[1];

function describeFile(path) {
  const bytes = readFileSync(path);
  return { size: bytes.length, sha256: sha256(bytes) };
}

/** Builds into `out` unless what lies there was made of the same inputs. Returns whether it built. */
export function buildGuest({ out, force, main = join(ROOT, "guest-agent/src/main.ts") }) {
  const kernel = kernelPackage();
  const packages = fetchPackages(readList(join(IMAGE, "packages.list")));
  const inputs = inputsKey(
    [kernel, ...packages].map((path) => basename(path)),
    main,
  );
  const manifest = join(out, "manifest.json");
  const present = ["vmlinux", "initrd.img", "manifest.json"].every((name) => existsSync(join(out, name)));
  if (!force && present && JSON.parse(readFileSync(manifest, "utf8")).inputs === inputs) return false;

  const work = mkdtempSync(join(tmpdir(), "hull-guest-"));
  try {
    const agent = join(work, "hull-agent");
    run(join(ROOT, "hack/lib/qjs-build"), [main, agent]);
    const { release, entries } = moduleEntries(kernel, work);
    const vmlinux = extractVmlinux(readFileSync(join(kernel, "boot", `vmlinuz-${release}`)));
    const initrd = archive([
      { name: "init", kind: "file", mode: 0o755, data: readFileSync(agent) },
      // The kernel opens it before /init has mounted anything.
      { name: "dev/console", kind: "character", mode: 0o600, major: 5, minor: 1 },
      ...["proc", "sys", "run", "tmp"].map((name) => ({ name, kind: "directory" })),
      ...programEntries(packages, work),
      ...entries,
    ]);
    mkdirSync(out, { recursive: true });
    const place = (name, bytes) => {
      // A running VM or another build may have the old file open.
      writeFileSync(join(out, `${name}.new`), bytes);
      renameSync(join(out, `${name}.new`), join(out, name));
    };
    // The manifest vouches for the others: gone first, back last.
    rmSync(manifest, { force: true });
    place("vmlinux", vmlinux);
    place("initrd.img", initrd);
    const content = {
      inputs,
      kernel: { release, package: debianVersion(kernel) },
      crun: debianVersion(packages.find((path) => basename(path).startsWith("crun_")) ?? ""),
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
