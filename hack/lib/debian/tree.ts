import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { buildOnce, cachePath, keyOf } from "../cache.ts";
import { run } from "../run.ts";
import { withApt } from "./apt.ts";
import { debianPackages } from "./packages.ts";

const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/**
 * Returns a directory with packages of a suite and everything they depend on, extracted into one tree. `programs`, paths relative
 * to it, run on this machine with the tree's own C library and libraries: in that directory or, if `mountPoint` is given, only
 * where the tree is mounted there.
 */
export function debianTree(
  suite: string,
  packages: readonly string[],
  programs: readonly string[],
  mountPoint?: string,
): string {
  const kind = "tree";
  const key = keyOf(suite, ...packages, "", ...programs, mountPoint ?? "");
  return buildOnce(kind, key, (work, result) => {
    const archives = join(work, "archives");
    mkdirSync(join(archives, "partial"), { recursive: true });
    withApt(suite, false, (apt) => apt.downloadWithDependencies(packages, archives));
    for (const name of readdirSync(archives).filter((file) => file.endsWith(".deb")))
      run("dpkg-deb", ["--extract", join(archives, name), result]);
    for (const program of programs) bindToTree(join(result, program), mountPoint ?? cachePath(kind, key));
  });
}

/** Makes a program use the C library and the libraries of `tree`, the directory in which it runs. */
function bindToTree(program: string, tree: string): void {
  if (!existsSync(program)) throw new Error(`${program} is in none of the packages`);
  const [patchelf = ""] = debianPackages("bookworm", ["patchelf"]);
  const libraries = join(tree, LIBRARIES);
  // DT_RPATH applies to the libraries of libraries, too; DT_RUNPATH does not (ld.so(8)).
  const rpath = ["--force-rpath", "--set-rpath", libraries];
  run(join(patchelf, "usr/bin/patchelf"), [
    "--set-interpreter",
    join(libraries, "ld-linux-x86-64.so.2"),
    ...rpath,
    program,
  ]);
}
