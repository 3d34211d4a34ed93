/**
 * Checks the licences of dependencies:
 *  - docs/licences.md allows the licence of every installed npm package in package-lock.json;
 *  - its table of native code lists exactly the Debian packages that the build links or copies.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE as ENGINE } from "../build/qjs.ts";
import { SOURCE as CRUN, LIBRARIES } from "../guest-image/crun.ts";
import { META as KERNEL } from "../guest-image/debian-kernel.ts";
import { SOURCE as LEAN_KERNEL } from "../guest-image/lean-kernel.ts";
import { ROOT } from "../run.ts";

const ALLOWED = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
]);
/** hack/setup symlinks it in dist/libexec. */
const VSOCK = "vhost-device-vsock";
const BUNDLED = [KERNEL, LEAN_KERNEL, CRUN, ...Object.values(LIBRARIES).map(([name]) => name), ENGINE, VSOCK];

/** Returns whether an SPDX expression has an allowed alternative. Supports parentheses only around the whole expression. */
export function isAllowed(expression: string): boolean {
  const choices = expression.replace(/^\((.*)\)$/, "$1").split(" OR ");
  return choices.some((choice) => choice.split(" AND ").every((licence) => ALLOWED.has(licence.trim())));
}

/** Returns the Debian packages in the first column of the document's tables. */
export function packagesIn(document: string): string[] {
  return [...document.matchAll(/^\| `([^`]+)` \|/gm)].flatMap(([, name]) => name ?? []);
}

function json(file: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(ROOT, file), "utf8"));
}

function npmProblems(): string[] {
  const directories = Object.keys(json("package-lock.json").packages as object).filter((path) => path !== "");
  // Packages for other systems are not installed.
  const manifests = directories
    .map((directory) => join(directory, "package.json"))
    .filter((file) => existsSync(join(ROOT, file)));
  return manifests.flatMap((file) => {
    const { license } = json(file);
    if (typeof license === "string" && isAllowed(license)) return [];
    return [`${file}: licence ${JSON.stringify(license)} is not one of ${[...ALLOWED].join(", ")}`];
  });
}

function nativeProblems(document: string): string[] {
  const named = packagesIn(document);
  return [
    ...BUNDLED.filter((name) => !named.includes(name)).map(
      (name) => `the build uses ${name}, which is not listed`,
    ),
    ...named
      .filter((name) => !BUNDLED.includes(name))
      .map((name) => `${name} is listed, but the build does not use it`),
    ...[...ALLOWED]
      .filter((name) => !document.includes(name))
      .map((name) => `${name} is allowed, but not listed`),
  ].map((problem) => `docs/licences.md: ${problem}`);
}

function main(): void {
  const document = readFileSync(join(ROOT, "docs/licences.md"), "utf8");
  const problems = [...npmProblems(), ...nativeProblems(document)];
  for (const problem of problems) console.log(problem);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
