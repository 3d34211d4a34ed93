import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { schemaText } from "../config/emit/artifacts.ts";
import { typeOf, writtenValue } from "../config/emit/describe.ts";
import { sample } from "../config/emit/sample.ts";
import { importKata } from "../config/kata/import.ts";
import { loadWith } from "../config/load.ts";
import { readConfigFile } from "../config/parse/config-file.ts";
import { parseText } from "../config/parse/parse-text.ts";
import { candidates, findSources } from "../config/parse/sources.ts";
import { effectiveYaml, originText } from "../config/result/explain.ts";
import { matchesGlob } from "../config/result/glob.ts";
import { layerOf } from "../config/result/layer.ts";
import { LoadedConfig } from "../config/result/loaded-config.ts";
import type { HypervisorType, Key } from "../config/schema/key.ts";
import { ConfigError, show } from "../config/schema/problem.ts";
import { KEYS } from "../config/schema/schema.ts";
import { suggest } from "../config/schema/suggest.ts";
import { HullError, invalidArgument, notFound } from "../core/errors.ts";
import { type CliContext, EXIT } from "./context.ts";
import { podAnnotations } from "./pod-annotations.ts";

/** The configuration that a command works on. */
interface ConfigSelection {
  /** Same as containerd's `ConfigPath`. */
  readonly file?: string;
  /** A pod's manifest or `config.json`, whose annotations are applied. */
  readonly pod?: string;
}

const optionsOf = (context: CliContext, { file }: ConfigSelection) =>
  file === undefined ? {} : { configPath: resolve(context.cwd, file) };

async function load(context: CliContext, selection: ConfigSelection): Promise<LoadedConfig> {
  const annotations =
    selection.pod === undefined ? undefined : await podAnnotations(resolve(context.cwd, selection.pod));
  const loaded = await loadWith(optionsOf(context, selection), { ...context, annotations });
  for (const warning of loaded.warnings) context.err(`warning: ${warning}\n`);
  return loaded;
}

/**
 * `hull config paths`: prints every path that is searched, and which file is used. Returns the exit status.
 */
export async function configPaths(context: CliContext, selection: ConfigSelection): Promise<number> {
  const options = optionsOf(context, selection);
  const used = (await findSources(options, context)).map(({ source }) => source);
  let found = false;
  for (const { file } of candidates(options, context)) {
    const state: string = found ? "not reached" : file === used[0] ? "used" : "does not exist";
    found ||= state === "used";
    context.out(`${file}: ${state}\n`);
    if (state === "used") for (const dropIn of used.slice(1)) context.out(`  ${dropIn}: applies\n`);
  }
  if (!found) context.out("no configuration file exists: every key has its default\n");
  return EXIT.ok;
}

/** `hull config show`: prints the effective configuration. Returns the exit status. */
export async function configShow(
  context: CliContext,
  selection: ConfigSelection & { readonly origin?: boolean; readonly json?: boolean },
): Promise<number> {
  const loaded = await load(context, selection);
  if (selection.json) context.out(`${JSON.stringify(jsonOf(loaded, selection.origin === true), null, 2)}\n`);
  else context.out(effectiveYaml(loaded, { origin: selection.origin === true }));
  return EXIT.ok;
}

function jsonOf(loaded: LoadedConfig, origin: boolean): unknown {
  if (!origin) return loaded.config;
  return Object.fromEntries(
    [...KEYS.keys()].map((name) => {
      const { value, origin: from } = loaded.inForce(name);
      return [name, { value: value ?? null, origin: from }];
    }),
  );
}

/**
 * `hull config explain KEY`: prints its value, the value's origin, what that overrides, and the key's
 * meaning.
 */
export async function configExplain(
  context: CliContext,
  name: string,
  selection: ConfigSelection,
): Promise<number> {
  const key = KEYS.get(name);
  if (!key) {
    const near = suggest(name, KEYS.keys()) ?? [...KEYS.keys()].find((known) => known.endsWith(`.${name}`));
    throw notFound(`unknown key ${show(name)}${near ? `; did you mean ${near}?` : ""}`);
  }
  const loaded = await load(context, selection);
  const [current, ...overridden] = loaded.history.get(name) ?? [];
  if (!current) return EXIT.failed;
  const text = (value: (typeof current)["value"]) =>
    value === undefined ? "not set" : writtenValue(key, value);
  context.out(`${name}: ${text(current.value)}\n  from ${originText(current.origin)}\n`);
  for (const { value, origin } of overridden) {
    context.out(`  overrides ${text(value)} from ${originText(origin)}\n`);
  }
  context.out(`\n${key.about}\nType: ${typeOf(key)}. Since ${key.since}.\n`);
  context.out(`By annotation: ${annotationState(name, key, loaded)}.\n`);
  if (key.planned) context.out("Not implemented yet.\n");
  return EXIT.ok;
}

function annotationState(name: string, key: Key, { config }: LoadedConfig): string {
  if (!key.annotation) return "never";
  const allowed = config.runtime.enable_annotations.some((pattern) => matchesGlob(name, pattern, ""));
  return allowed ? "allowed" : "not allowed (runtime.enable_annotations does not list it)";
}

/** `hull config validate FILE`: validates that file alone. Throws ConfigError. Returns the exit status. */
export async function configValidate(context: CliContext, file: string): Promise<number> {
  const source = resolve(context.cwd, file);
  const text = await readConfigFile(source);
  if (text === undefined) throw new ConfigError([{ source, rule: "does not exist" }]);
  const document = await parseText({ kind: "file", source, text, directory: dirname(source) });
  const layer = layerOf(document, { kind: "file", source, directory: dirname(source) });
  const { warnings } = LoadedConfig.of([layer], [source], context.installation);
  for (const warning of warnings) context.err(`warning: ${warning}\n`);
  context.out(`${source}: valid\n`);
  return EXIT.ok;
}

/**
 * `hull config default`: prints the commented sample file. Throws InvalidArgument for an unknown hypervisor.
 */
export function configDefault(context: CliContext, type: string): number {
  if (type !== "qemu" && type !== "cloud-hypervisor") {
    throw invalidArgument(`there is no hypervisor ${show(type)}; choose qemu or cloud-hypervisor`);
  }
  context.out(sample(type satisfies HypervisorType));
  return EXIT.ok;
}

/** `hull config schema`: prints the JSON Schema, for editors. Returns the exit status. */
export function configSchema(context: CliContext): number {
  context.out(schemaText());
  return EXIT.ok;
}

/**
 * `hull config import-kata FILE`: prints Kata's configuration as hull's, and on stderr the keys that were
 * dropped.
 */
export async function configImportKata(context: CliContext, file: string): Promise<number> {
  const source = resolve(context.cwd, file);
  const toml = await readFile(source, "utf8").catch((thrown: unknown) => {
    throw HullError.ofCallersPath(source, thrown);
  });
  const { yaml, dropped } = importKata(toml, source);
  context.out(yaml);
  for (const { key, why } of dropped) context.err(`not carried over: ${key}: ${why}\n`);
  return EXIT.ok;
}
