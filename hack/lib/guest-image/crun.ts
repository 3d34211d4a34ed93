// The guest's crun: Debian's source, linked statically without systemd.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { buildOnce, keyOf } from "../cache.ts";
import { debianVersion } from "../debian/packages.ts";
import { CC, compilerVersion, readList, run } from "../run.ts";
import { guestPackages } from "./sources.ts";

/** The package with crun's source. */
export const SOURCE = "src:crun";
/** Package and file of each library, by the name that the linker looks for. */
export const LIBRARIES: Readonly<Record<string, readonly [string, string]>> = {
  "libcap.a": ["libcap-dev", "libcap.a"],
  "libseccomp.a": ["libseccomp-dev", "libseccomp.a"],
  "libyajl.a": ["libyajl-dev", "libyajl_s.a"],
};
const CONFIGURE = [
  ..."--quiet --disable-dependency-tracking --disable-systemd --disable-dl --disable-criu".split(" "),
  ...["YAJL_CFLAGS= ", "YAJL_LIBS=-lyajl"], // instead of pkg-config
  "PYTHON=/bin/true", // required, but not used: see unpack
  "ac_cv_search_gcry_check_version=no", // for caching seccomp filters, which is no use in the guest
];

/** The compiled crun. */
export interface Crun {
  readonly key: string;
  readonly version: string;
  /** The path of the program. */
  readonly program: string;
}

/**
 * Returns crun as a static program, compiled on first use (25 s on two cores). It starts three times as fast as a dynamic one:
 * in an emulated guest, dynamic linking takes most of crun's start.
 */
export function staticCrun(): Crun {
  const packages = Object.values(LIBRARIES).map(([name]) => name);
  const [source = "", ...libraries] = guestPackages([SOURCE, ...packages]);
  const recipe = readFileSync(import.meta.filename, "utf8");
  const parts = [source, ...libraries].map((path) => basename(path));
  const key = keyOf(...parts, recipe, compilerVersion());
  const cache = buildOnce("crun", key, (work, result) => compile(source, libraries, work, result));
  return { key, version: debianVersion(source), program: join(cache, "crun") };
}

function compile(source: string, libraries: readonly string[], work: string, result: string): void {
  console.error("build-guest: compiling crun (once)");
  const tree = unpack(source, work);
  const archives = join(work, "lib");
  mkdirSync(archives);
  for (const [index, [name, [, file]]] of Object.entries(LIBRARIES).entries())
    symlinkSync(join(libraries[index] ?? "", "usr/lib/x86_64-linux-gnu", file), join(archives, name));
  const includes = libraries.map((path) => `-I${join(path, "usr/include")}`);
  // Without PIE there are no relocations at the start. The result must not depend on paths.
  const env = {
    PATH: process.env.PATH,
    LC_ALL: "C",
    CC: CC,
    CPPFLAGS: includes.join(" "),
    CFLAGS: `-O2 -fno-pie -ffunction-sections -fdata-sections -ffile-prefix-map=${tree}=crun`,
    LDFLAGS: `-no-pie -L${archives}`,
  };
  const at = { cwd: tree, env, stdio: ["ignore" as const, "ignore" as const, "pipe" as const] };
  run("./configure", CONFIGURE, at);
  writeFileSync(join(tree, "git-version.h"), `#define GIT_VERSION "${debianVersion(source)}"\n`);
  const link = `${env.LDFLAGS} -all-static -s -Wl,--gc-sections -Wl,--build-id=none`;
  run("make", [`-j${availableParallelism()}`, "crun", `LDFLAGS=${link}`], at);
  cpSync(join(tree, "crun"), join(result, "crun"));
}

/** Unpacks a Debian source package (format "3.0 (quilt)", dpkg-source(1)) and applies its patches. */
function unpack(source: string, work: string): string {
  const files = readdirSync(source);
  const tar = (pattern: RegExp, ...more: string[]) =>
    run("tar", ["-xf", join(source, files.find((name) => pattern.test(name)) ?? ""), ...more]);
  const tree = join(work, "crun");
  mkdirSync(tree);
  tar(/\.orig\.tar\.[a-z]+$/, "-C", tree, "--strip-components=1");
  tar(/\.debian\.tar\.[a-z]+$/, "-C", tree);
  const patches = join(tree, "debian/patches");
  for (const name of readList(join(patches, "series")))
    run("patch", ["--silent", "-p1", "-d", tree, "-i", join(patches, name)]);
  // The generated files exist. With stamps, and all files of one age, make does not run Python to generate them again.
  for (const name of ["basic-test", "image_manifest", "image_spec", "runtime_spec"])
    writeFileSync(join(tree, `libocispec/src/${name}_stamp`), "");
  run("find", [tree, "-exec", "touch", "--no-dereference", "--date=@0", "{}", "+"]);
  return tree;
}
