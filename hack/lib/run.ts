// What the guest is made of: the repository, and Debian's packages.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
export const IMAGE = join(ROOT, "guest-agent/image");
const SUITE = "bookworm";

export const run = (command, args, options = {}) =>
  execFileSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    ...options,
  });

/** The folders that the packages are extracted to. */
export const fetchPackages = (names) =>
  run(join(ROOT, "hack/lib/apt-fetch"), [SUITE, ...names])
    .trim()
    .split("\n");

export const compilerVersion = () => run(process.env.CC ?? "cc", ["--version"]);

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The version in an extracted package's path. */
export const debianVersion = (path) => basename(path).split("_")[1];
