/**
 * Checks what each source file imports:
 *  - a folder under src/ imports only itself and the folders that DEPS.list names for it;
 *  - src/core, src/proto and src/ttrpc (but for ttrpc/node) run in the guest's engine too: no Node modules there;
 *  - the guest agent imports only itself and those three.
 * Tests may import what they like.
 */
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join } from "node:path";
import ts from "typescript";
import { ROOT } from "../run.ts";

const SHARED_WITH_GUEST = ["core", "proto", "ttrpc"];

/** Folder -> the folders it may import. */
export function parseDeps(text: string): Map<string, Set<string>> {
  const allowed = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const [folder, list] = content.split(":");
    if (!folder || list === undefined) throw new Error(`DEPS.list: cannot read ${JSON.stringify(line)}`);
    allowed.set(folder, new Set(list.split(/\s+/).filter((name) => name !== "")));
  }
  return allowed;
}

/** What is wrong with one import, or undefined. Paths are relative to the repository's root. */
export function violation(
  file: string,
  specifier: string,
  allowed: Map<string, Set<string>>,
): string | undefined {
  const [area = "", folder = ""] = file.split("/");
  const shared = area === "src" && SHARED_WITH_GUEST.includes(folder) && !file.startsWith("src/ttrpc/node/");
  const inGuest = area === "guest-agent" || shared;
  if (!specifier.startsWith(".")) {
    // "sys" is the guest agent's C module (and by chance an old name of node:util).
    const isNode =
      specifier.startsWith("node:") || (builtinModules.includes(specifier) && specifier !== "sys");
    return isNode && inGuest ? `${specifier} does not exist in the guest's engine` : undefined;
  }
  const target = join(dirname(file), specifier);
  const [targetArea = "", targetFolder = ""] = target.split("/");
  if (area === "guest-agent") {
    if (targetArea === "guest-agent" || target === "package.json") return undefined;
    const pure = targetArea === "src" && SHARED_WITH_GUEST.includes(targetFolder);
    return pure && !target.startsWith("src/ttrpc/node/")
      ? undefined
      : `the guest agent may not import ${target}`;
  }
  if (targetArea !== "src") return `${target} is outside src/`;
  if (shared && target.startsWith("src/ttrpc/node/")) return `${target} needs Node`;
  if (targetFolder === folder) return undefined;
  const list = allowed.get(folder);
  if (!list) return `src/${folder} is not in DEPS.list`;
  return list.has(targetFolder) ? undefined : `src/${folder} may not import src/${targetFolder} (DEPS.list)`;
}

function main(): void {
  const root = ROOT;
  const allowed = parseDeps(readFileSync(join(root, "DEPS.list"), "utf8"));
  const files = ["src", "guest-agent/src"]
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, String(name))),
    )
    .filter((file) => file.endsWith(".ts") && !/\.test\.ts$|\/testing(\/|\.ts$)|\/fixtures\//.test(file));
  const problems: string[] = [];
  for (const file of files.sort()) {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), "utf8"));
    for (const { fileName } of importedFiles) {
      const problem = violation(file, fileName, allowed);
      if (problem) problems.push(`${file}: imports ${fileName}: ${problem}`);
    }
  }
  for (const problem of problems) console.error(problem);
  console.log(`check-deps: ${files.length} files, ${problems.length} violations`);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
