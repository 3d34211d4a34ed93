import { invalidArgument } from "../../core/errors.ts";
import { checkIdentifier } from "./identifier.ts";

/** The annotations that tell sandboxes and their containers apart: containerd's CRI, CRI-O, dockershim. */
const DIALECTS = [
  {
    type: "io.kubernetes.cri.container-type",
    sandboxId: "io.kubernetes.cri.sandbox-id",
    sandbox: "sandbox",
  },
  {
    type: "io.kubernetes.cri-o.ContainerType",
    sandboxId: "io.kubernetes.cri-o.SandboxID",
    sandbox: "sandbox",
  },
  { type: "io.kubernetes.docker.type", sandboxId: "io.kubernetes.sandbox.id", sandbox: "podsandbox" },
];

/**
 * The id of the pod that container `id` belongs to: its sandbox for a container of a Kubernetes pod, itself for a
 * sandbox, for a single container, and where there is no `config.json` (the sandbox API). Throws InvalidArgument
 * for a config.json that is no JSON object, an unknown type, or a sandbox id that is missing or malformed.
 */
export function podOf(id: string, config: string | undefined): string {
  if (config === undefined) return id;
  const annotations = annotationsOf(config);
  for (const dialect of DIALECTS) {
    const type = annotations[dialect.type];
    if (type === undefined) continue;
    if (type === dialect.sandbox) return id;
    if (type !== "container") {
      throw invalidArgument(
        `config.json: annotation ${dialect.type} is ${JSON.stringify(type)}, which is not known`,
      );
    }
    const sandboxId = annotations[dialect.sandboxId];
    if (typeof sandboxId !== "string") {
      throw invalidArgument(`config.json: a container of a pod needs the annotation ${dialect.sandboxId}`);
    }
    checkIdentifier(`config.json: annotation ${dialect.sandboxId}`, sandboxId);
    return sandboxId;
  }
  return id;
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
