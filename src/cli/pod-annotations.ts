import { readFile } from "node:fs/promises";
import { parseYaml } from "../config/parse/yaml-document.ts";
import { ConfigError } from "../config/schema/problem.ts";
import { HullError, invalidArgument } from "../core/errors.ts";

/**
 * Reads the annotations of a Kubernetes manifest (a pod, or anything with a pod template) or an OCI
 * `config.json`; JSON is YAML. Throws NotFound, ConfigError or InvalidArgument.
 */
export async function podAnnotations(file: string): Promise<Record<string, string>> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => {
    throw HullError.ofCallersPath(file, thrown);
  });
  const { value, problems } = parseYaml(text, file);
  if (problems.length > 0) throw new ConfigError(problems);
  const found =
    member(value, "spec", "template", "metadata", "annotations") ??
    member(value, "metadata", "annotations") ??
    member(value, "annotations") ??
    {};
  for (const [name, annotation] of Object.entries(found)) {
    if (typeof annotation !== "string") {
      throw invalidArgument(`${file}: annotation ${name}: must be a string; put its value in quotes`);
    }
  }
  return { ...(found as Record<string, string>) };
}

function member(value: unknown, ...path: string[]): object | undefined {
  let at = value;
  for (const name of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return typeof at === "object" && at !== null ? at : undefined;
}
