/**
 * Debian packages in the user's cache. Cached packages are used without network access: a package without a requested version
 * keeps the version that was fetched first, until the cache is removed.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { basename, join } from "node:path";
import { run } from "../run.ts";
import { type Apt, DEBIAN, withApt } from "./apt.ts";

const POOL = join(DEBIAN, "pool");
const PACKAGE = /^(src:)?[a-z0-9][a-z0-9+.-]*(=[A-Za-z0-9.+:~-]+)?$/;
const SUITE = /^[a-z][a-z-]*$/;

/**
 * Returns the directories of extracted packages (`[src:]NAME[=VERSION]`) of a suite, in order, after fetching missing ones. A
 * package's control files are in DEBIAN. The directory of a source package contains its archives.
 */
export function debianPackages(suite: string, names: readonly string[]): string[] {
  if (!SUITE.test(suite)) throw new Error(`"${suite}" is not the name of a Debian suite`);
  for (const name of names)
    if (!PACKAGE.test(name)) throw new Error(`"${name}" is not PACKAGE or PACKAGE=VERSION`);
  const links = join(DEBIAN, suite);
  const isMissing = (name: string) => !existsSync(join(links, name));
  if (names.some(isMissing)) {
    for (const directory of [links, POOL]) mkdirSync(directory, { recursive: true });
    const sources = names.some((name) => name.startsWith("src:"));
    withApt(suite, sources, (apt) => {
      // Another process may have fetched some meanwhile.
      for (const name of names.filter(isMissing)) fetch(apt, name, join(links, name));
    });
  }
  return names.map((name) => realpathSync(join(links, name)));
}

/** Returns the directory of the kernel package that a metapackage, such as linux-image-cloud-amd64, depends on. */
export function debianKernelPackage(suite: string, metapackage: string): string {
  const [meta = ""] = debianPackages(suite, [metapackage]);
  const control = readFileSync(join(meta, "DEBIAN/control"), "utf8");
  const name = /^Depends:.* (linux-image-[^\s,]+)/m.exec(control)?.[1];
  if (!name) throw new Error(`${metapackage} names no kernel package`);
  const [path = ""] = debianPackages(suite, [name]);
  return path;
}

/** Returns the version in the path of an extracted package. */
export function debianVersion(path: string): string {
  const version = basename(path).split("_")[1];
  if (version === undefined) throw new Error(`${path}: no version in its name`);
  return decodeURIComponent(version);
}

/** Downloads a package and extracts it to the pool. Creates the symlink last, so that an aborted run leaves none. */
function fetch(apt: Apt, wanted: string, link: string): void {
  const work = mkdtempSync(join(DEBIAN, "fetch."));
  try {
    const download = join(work, "download");
    const extracted = join(work, "extracted");
    mkdirSync(download);
    apt.download(wanted, download);
    const file = readdirSync(download).find((name) => /\.(deb|dsc)$/.test(name));
    if (!file) throw new Error(`apt-get has downloaded no package for ${wanted}`);
    if (file.endsWith(".deb")) run("dpkg-deb", ["--raw-extract", join(download, file), extracted]);
    else renameSync(download, extracted);
    const name = file.replace(/\.(deb|dsc)$/, "");
    if (!existsSync(join(POOL, name))) renameSync(extracted, join(POOL, name));
    rmSync(link, { force: true });
    symlinkSync(join("../pool", name), link);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
