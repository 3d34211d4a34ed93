/**
 * Checks the imports of source files except tests:
 *  - a directory in src/ imports everything that DEPS.list allows, and nothing else;
 *  - src/core, src/proto and src/ttrpc (except ttrpc/node) do not import Node's modules, because the guest uses them, too;
 *  - the guest agent imports only itself and those three;
 *  - there are no import cycles, even of types.
 */
import { existsSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join } from "node:path";
import { ROOT } from "../run.ts";
import { cycles } from "./cycles.ts";
import { importsOf, readSources } from "./sources.ts";

/** The directories in src/ that the guest agent imports, too. It runs in an engine without Node's modules. */
export const SHARED_WITH_GUEST = ["core", "proto", "ttrpc"];

/** The directories and files that each directory may import, all relative to src/. */
export type Allowed = ReadonlyMap<string, ReadonlySet<string>>;

/** Parses DEPS.list, whose first lines describe its syntax. Throws for invalid and duplicate lines. */
export function parseDeps(text: string): Allowed {
  const allowed = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const [directory, list, ...more] = content.split(":");
    if (!directory || list === undefined || more.length > 0)
      throw new Error(`DEPS.list: cannot read ${JSON.stringify(line)}`);
    if (allowed.has(directory)) throw new Error(`DEPS.list: two lines for ${directory}`);
    allowed.set(directory, new Set(list.split(/\s+/).filter((name) => name !== "")));
  }
  return allowed;
}

/** Reports names in DEPS.list that do not exist. */
function staleNames(allowed: Allowed): string[] {
  const names = new Set([...allowed].flatMap(([directory, list]) => [directory, ...list]));
  return [...names]
    .filter((name) => !existsSync(join(ROOT, "src", name)))
    .map((name) => `DEPS.list: src/${name} does not exist`);
}

const isWithin = (path: string, name: string) => path === name || path.startsWith(`${name}/`);

/** Returns the innermost directory with a line of its own that contains the file. */
function lineOf(path: string, allowed: Allowed): string | undefined {
  return [...allowed.keys()].filter((name) => isWithin(path, name)).sort((a, b) => b.length - a.length)[0];
}

/** Returns what is wrong with an import; undefined if it is allowed. `file` is relative to the repository's root. */
export function violation(file: string, specifier: string, allowed: Allowed): string | undefined {
  const [area = "", directory = ""] = file.split("/");
  const shared =
    area === "src" && SHARED_WITH_GUEST.includes(directory) && !file.startsWith("src/ttrpc/node/");
  if (!specifier.startsWith(".")) {
    // "sys" is the guest agent's C module. It is also an old name of node:util.
    const isNode =
      specifier.startsWith("node:") || (builtinModules.includes(specifier) && specifier !== "sys");
    const inGuest = area === "guest-agent" || shared;
    return isNode && inGuest ? `${specifier} does not exist in the guest's engine` : undefined;
  }
  const target = join(dirname(file), specifier);
  if (area === "guest-agent") return agentViolation(target);
  if (!target.startsWith("src/")) return `${target} is outside src/`;
  if (shared && target.startsWith("src/ttrpc/node/")) return `${target} needs Node`;
  const line = lineOf(file.slice("src/".length), allowed);
  if (line === undefined) return `src/${directory} is not in DEPS.list`;
  const wanted = target.slice("src/".length);
  const names = [line, ...(allowed.get(line) ?? [])];
  return names.some((name) => isWithin(wanted, name))
    ? undefined
    : `src/${line} may not import ${target} (DEPS.list)`;
}

function agentViolation(target: string): string | undefined {
  if (target.startsWith("guest-agent/") || target === "package.json") return undefined;
  const shared = SHARED_WITH_GUEST.some((name) => isWithin(target, `src/${name}`));
  const isPure = shared && !target.startsWith("src/ttrpc/node/");
  return isPure ? undefined : `the guest agent may not import ${target}`;
}

/** Reports names in DEPS.list that no import needs: they would hide an unwanted import, and the map shows them. */
export function unusedNames(allowed: Allowed, imports: ReadonlyMap<string, readonly string[]>): string[] {
  const used = [...imports].flatMap(([file, specifiers]) => {
    const line = lineOf(file.slice("src/".length), allowed);
    return specifiers.map((specifier) => ({ line, target: join(dirname(file), specifier) }));
  });
  return [...allowed].flatMap(([directory, list]) =>
    [...list]
      .filter(
        (name) => !used.some(({ line, target }) => line === directory && isWithin(target, `src/${name}`)),
      )
      .map((name) => `DEPS.list: ${directory}: nothing there imports ${name}`),
  );
}

function main(): void {
  const allowed = parseDeps(readFileSync(join(ROOT, "DEPS.list"), "utf8"));
  const imports = importsOf(readSources());
  const problems = [
    ...staleNames(allowed),
    ...unusedNames(allowed, imports),
    ...[...imports].flatMap(([file, specifiers]) =>
      specifiers.flatMap((specifier) => {
        const problem = violation(file, specifier, allowed);
        return problem ? [`${file}: imports ${specifier}: ${problem}`] : [];
      }),
    ),
    ...cycles(imports).map((cycle) => `import cycle: ${cycle}`),
  ];
  for (const problem of problems) console.error(problem);
  console.log(`check-deps: ${imports.size} files, ${problems.length} violations`);
  if (problems.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main();
