import { HullError, invalidArgument } from "../../core/errors.ts";
import { containerKind } from "../../oci/container-kind.ts";
import { checkIdentifier } from "./identifier.ts";

/**
 * Returns the id of container `id`'s pod: the sandbox of a container in a Kubernetes pod; otherwise `id` itself, also
 * if there is no `config.json` (sandbox API). Throws InvalidArgument for a config.json that is not a JSON object, an
 * unknown container type, and a missing or malformed sandbox id.
 */
export function podOf(id: string, config: string | undefined): string {
  if (config === undefined) return id;
  const found = kindIn(config);
  if (found.kind !== "container") return id;
  checkIdentifier("config.json: the sandbox's id", found.sandboxId);
  return found.sandboxId;
}

function kindIn(config: string): ReturnType<typeof containerKind> {
  const annotations = annotationsOf(config);
  try {
    return containerKind(annotations);
  } catch (error) {
    throw HullError.wrap("config.json", error);
  }
}

function annotationsOf(config: string): Record<string, unknown> {
  let spec: unknown;
  try {
    spec = JSON.parse(config);
  } catch (error) {
    throw invalidArgument(`config.json is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof spec !== "object" || spec === null || Array.isArray(spec)) {
    throw invalidArgument("config.json is not a JSON object");
  }
  const annotations = (spec as { annotations?: unknown }).annotations ?? {};
  if (typeof annotations !== "object" || Array.isArray(annotations)) {
    throw invalidArgument("config.json: annotations is not an object");
  }
  return annotations as Record<string, unknown>;
}
