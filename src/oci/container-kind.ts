import { invalidArgument } from "../core/errors.ts";

/** A container's role in its pod. */
type ContainerKind =
  /** A pod of its own: plain `ctr`, `nerdctl`, docker. */
  | { readonly kind: "single" }
  /** The pause container of a CRI pod. */
  | { readonly kind: "sandbox" }
  /** A container in the pod `sandboxId`. */
  | { readonly kind: "container"; readonly sandboxId: string };

/** The annotations of containerd's CRI plugin, CRI-O, cri-dockerd (and dockershim before it). */
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
] as const;

/**
 * Returns a container's kind from its spec's annotations. Throws InvalidArgument for a type that the dialect does
 * not define, and for a pod's container without the sandbox's ID.
 */
export function containerKind(annotations: Readonly<Record<string, unknown>> = {}): ContainerKind {
  for (const dialect of DIALECTS) {
    const type = annotations[dialect.type];
    if (type === undefined) continue;
    if (type === dialect.sandbox) return { kind: "sandbox" };
    if (type !== "container") {
      throw invalidArgument(
        `annotation ${dialect.type}: ${JSON.stringify(type)} is neither "${dialect.sandbox}" nor "container"`,
      );
    }
    const sandboxId = annotations[dialect.sandboxId];
    if (typeof sandboxId !== "string" || sandboxId === "") {
      throw invalidArgument(`annotation ${dialect.sandboxId} is missing for a container of a pod`);
    }
    return { kind: "container", sandboxId };
  }
  return { kind: "single" };
}
