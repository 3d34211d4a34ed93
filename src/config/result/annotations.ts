import { isAbsolute, normalize } from "node:path";
import { checkValue } from "../schema/check-value.ts";
import type { Key } from "../schema/key.ts";
import { type Problem, SHOWN, show } from "../schema/problem.ts";
import { type Config, KEYS } from "../schema/schema.ts";
import { suggest } from "../schema/suggest.ts";
import { matchesGlob } from "./glob.ts";
import type { Layer, Setting } from "./layer.ts";

/** The prefix of annotations that set a key; the key's full name follows it. */
export const ANNOTATION_PREFIX = "io.hull.config.";

/**
 * Turns a pod's annotations into a layer. Nothing is allowed unless `runtime.enable_annotations` lists the key and, for
 * a path, `runtime.annotation_paths` the value: a pod's author does not own the node.
 */
export function layerOfAnnotations(annotations: Readonly<Record<string, string>>, config: Config): Layer {
  const settings = new Map<string, Setting>();
  const problems: Problem[] = [];
  for (const [annotation, text] of Object.entries(annotations)) {
    if (!annotation.startsWith(ANNOTATION_PREFIX)) continue;
    const name = annotation.slice(ANNOTATION_PREFIX.length);
    const source = `annotation ${annotation}`;
    const refusal = refuse(name, text, config, problems.length < SHOWN);
    if (refusal) {
      problems.push({ source, ...refusal });
      continue;
    }
    const checked = checkValue(KEYS.get(name) as Key, written(KEYS.get(name) as Key, text));
    if ("rule" in checked) problems.push({ source, rule: checked.rule, advice: checked.advice });
    else settings.set(name, { value: checked.value, origin: { kind: "annotation", source: annotation } });
  }
  return { settings, problems, warnings: [] };
}

function refuse(
  name: string,
  text: string,
  { runtime }: Config,
  isShown: boolean,
): { rule: string; advice?: string | undefined } | undefined {
  const key = KEYS.get(name);
  if (!key) {
    const near = isShown ? suggest(name, KEYS.keys()) : undefined;
    return {
      rule: `unknown key ${show(name)}`,
      advice: near && `did you mean ${ANNOTATION_PREFIX}${near}?`,
    };
  }
  if (!key.annotation) return { rule: "this key can only be set in the node's configuration" };
  if (!runtime.enable_annotations.some((pattern) => matchesGlob(name, pattern, ""))) {
    return {
      rule: "not allowed on this node",
      advice: `add ${name} to runtime.enable_annotations in the node's configuration`,
    };
  }
  if (key.kind !== "path" && key.kind !== "program") return undefined;
  if (!isAbsolute(text) || normalize(text) !== text) {
    return { rule: `must be an absolute path without . and .., not ${show(text)}` };
  }
  if (!runtime.annotation_paths.some((pattern) => matchesGlob(text, pattern, "/"))) {
    return {
      rule: `path ${show(text)} is not allowed on this node`,
      advice: "add a pattern for it to runtime.annotation_paths in the node's configuration",
    };
  }
  return undefined;
}

/** What an annotation's text would be in a file. A list is words separated by spaces, or a JSON array. */
function written(key: Key, text: string): unknown {
  const trimmed = text.trim();
  switch (key.kind) {
    case "boolean":
      return trimmed === "true" ? true : trimmed === "false" ? false : text;
    case "integer":
      return /^-?\d{1,15}$/.test(trimmed) ? Number(trimmed) : text;
    case "list":
      return trimmed.startsWith("[") ? json(trimmed) : trimmed.split(/\s+/).filter((word) => word !== "");
    case "choice-or-after":
      return trimmed.startsWith("{") ? json(trimmed) : text;
    default:
      return text;
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // refused later: a list or mapping is expected
  }
}
