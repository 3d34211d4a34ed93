import { isAbsolute, resolve } from "node:path";
import { at, type ParsedDocument } from "../parse/parsed-document.ts";
import { checkValue } from "../schema/check-value.ts";
import type { Key, Section, Value } from "../schema/key.ts";
import { type Position, type Problem, SHOWN, show } from "../schema/problem.ts";
import { CONFIG_VERSION, KEYS, SCHEMA } from "../schema/schema.ts";
import { suggest } from "../schema/suggest.ts";

/** Where a value came from. */
export interface Origin {
  readonly kind: "default" | "file" | "drop-in" | "options" | "annotation";
  /** The file, the annotation's name, `config_body` or `default`. */
  readonly source: string;
  readonly position?: Position | undefined;
}

/** A key's value and where it came from. */
export interface Setting {
  readonly value: Value;
  readonly origin: Origin;
}

/** The values that one source sets, by full key name, and the problems of that source. */
export interface Layer {
  readonly settings: ReadonlyMap<string, Setting>;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/**
 * Turns a parsed document into a layer: checks that every key is known and every value fits it, and resolves relative
 * paths against `directory` (refused if undefined).
 */
export function layerOf(
  document: ParsedDocument,
  origin: { readonly kind: Origin["kind"]; readonly source: string; readonly directory: string | undefined },
  schema: Section = SCHEMA,
): Layer {
  const settings = new Map<string, Setting>();
  const problems: Problem[] = [...document.problems];
  const warnings: string[] = [];
  const position = (path: (string | number)[]) => document.positions[at(path)];
  const { source } = origin;

  const leaf = (key: Key, path: string[], written: unknown) => {
    const name = path.join(".");
    const checked = checkValue(key, written);
    if ("rule" in checked) {
      const where = checked.item === undefined ? path : [...path, checked.item];
      problems.push({
        source,
        position: position(where),
        key: name,
        rule: checked.rule,
        advice: checked.advice,
      });
      return;
    }
    if (key.retired) {
      const { since, instead, until } = key.retired;
      warnings.push(
        `${source}: ${name} is retired since ${since} and will be refused after ${until}; ${instead}`,
      );
    }
    let value: Value = checked.value;
    if (
      (key.kind === "path" || (key.kind === "program" && String(value).includes("/"))) &&
      !isAbsolute(String(value))
    ) {
      if (origin.directory === undefined) {
        const rule = `must be an absolute path, not ${show(value)}`;
        const advice = "relative paths are allowed only in files";
        problems.push({ source, position: position(path), key: name, rule, advice });
        return;
      }
      value = resolve(origin.directory, String(value));
    }
    settings.set(name, { value, origin: { kind: origin.kind, source, position: position(path) } });
  };

  const walk = (node: Section, path: string[], written: unknown) => {
    if (written === null) return; // a section whose lines are all commented out
    if (typeof written !== "object" || Array.isArray(written)) {
      const rule = `must be a mapping of keys to values, not ${show(written)}`;
      problems.push({ source, position: position(path), key: path.join(".") || undefined, rule });
      return;
    }
    for (const [name, value] of Object.entries(written as object)) {
      if (path.length === 0 && name === "version") continue;
      const child = Object.hasOwn(node.keys, name) ? node.keys[name] : undefined;
      const inner = [...path, name];
      if (!child) {
        problems.push({
          source,
          position: position(inner),
          rule: `unknown key ${show(inner.join("."))}`,
          advice: problems.length < SHOWN ? suggestion(node, path, name) : undefined,
        });
      } else if (child.kind === "section") walk(child, inner, value);
      else leaf(child, inner, value);
    }
  };

  if (document.problems.length === 0) {
    const problem = versionProblem(document.value);
    // Keys of another version may have another meaning, so they are not checked.
    if (problem) problems.push({ source, position: position(["version"]), key: "version", ...problem });
    else walk(schema, [], document.value);
  }
  return { settings, problems, warnings };
}

function versionProblem(value: unknown): { rule: string; advice: string } | undefined {
  if (value === null)
    return { rule: "the file is empty", advice: `start it with "version: ${CONFIG_VERSION}"` };
  if (typeof value !== "object" || Array.isArray(value)) {
    return {
      rule: `the document must be a mapping of keys to values, not ${show(value)}`,
      advice: `start it with "version: ${CONFIG_VERSION}"`,
    };
  }
  if (!("version" in value))
    return { rule: "is missing", advice: `start the file with "version: ${CONFIG_VERSION}"` };
  const { version } = value as { version: unknown };
  if (version === CONFIG_VERSION) return undefined;
  return Number.isInteger(version) && (version as number) > CONFIG_VERSION
    ? {
        rule: `version ${version} is newer than this hull supports`,
        advice: `it supports version ${CONFIG_VERSION}; update hull`,
      }
    : {
        rule: `must be ${CONFIG_VERSION}, not ${show(version)}`,
        advice: `write "version: ${CONFIG_VERSION}"`,
      };
}

/** Suggests what an unknown key may mean: a similar name in the section, or the same name in another one. */
function suggestion(node: Section, path: readonly string[], name: string): string {
  const neighbours = [...Object.keys(node.keys), ...(path.length === 0 ? ["version"] : [])];
  if (path.length === 0 && KEYS.has(name))
    return `write it in its section: ${name.split(".").join(": {")}: ...${"}".repeat(name.split(".").length - 1)}`;
  const near = suggest(name, neighbours);
  if (near) return `did you mean ${[...path, near].join(".")}?`;
  const elsewhere = [...KEYS.keys()].find((key) => key.endsWith(`.${name}`));
  if (elsewhere) return `did you mean ${elsewhere}?`;
  return path.length === 0
    ? `the sections are ${Object.keys(node.keys).join(", ")}`
    : `"hull config default" lists all keys`;
}
