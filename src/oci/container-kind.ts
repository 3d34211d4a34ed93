import { invalidArgument } from "../core/errors.ts";

/** What a container is to its pod. */
type ContainerKind =
  /** A pod of its own: plain `ctr`, `nerdctl`, docker. */
  | { readonly kind: "single" }
  /** The pause container of a CRI pod. */
  | { readonly kind: "sandbox" }
  /** A container in the pod `sandboxId`. */
  | { readonly kind: "container"; readonly sandboxId: string };

/** The annotations that say so: containerd's CRI plugin, CRI-O, dockershim (shim-v2 contract, CRI annotations). */
const DIALECTS = [
  { type: "io.kubernetes.cri.container-type", sandboxId: "io.kubernetes.cri.sandbox-id" },
  { type: "io.kubernetes.cri-o.ContainerType", sandboxId: "io.kubernetes.cri-o.SandboxID" },
  { type: "io.kubernetes.docker.type", sandboxId: "io.kubernetes.sandbox.id" },
] as const;

/** Reads a container's kind off its spec's annotations. Throws InvalidArgument for a type that nobody defined. */
export function containerKind(annotations: Readonly<Record<string, string>> = {}): ContainerKind {
  for (const dialect of DIALECTS) {
    const type = annotations[dialect.type];
    if (type === undefined) continue;
    if (type === "sandbox" || type === "podsandbox") return { kind: "sandbox" };
    const sandboxId = annotations[dialect.sandboxId];
    if (type !== "container") {
      throw invalidArgument(`annotation ${dialect.type}: "${type}" is neither "sandbox" nor "container"`);
    }
    if (!sandboxId)
      throw invalidArgument(`annotation ${dialect.sandboxId} is missing for a container of a pod`);
    return { kind: "container", sandboxId };
  }
  return { kind: "single" };
}
