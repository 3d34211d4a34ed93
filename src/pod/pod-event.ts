import type { RootfsSource } from "../oci/rootfs.ts";
import type { Exit } from "./process.ts";
import type { StdioPaths } from "./stdio.ts";

/** What happens to the tasks of a pod, published in order. The shim turns these into containerd's events. */
export type PodEvent =
  | {
      readonly kind: "create";
      readonly containerId: string;
      readonly pid: number;
      readonly bundle: string;
      readonly rootfs: RootfsSource["mounts"];
      readonly stdio: StdioPaths;
    }
  | { readonly kind: "start"; readonly containerId: string; readonly pid: number }
  | { readonly kind: "exec-added"; readonly containerId: string; readonly execId: string }
  | {
      readonly kind: "exec-started";
      readonly containerId: string;
      readonly execId: string;
      readonly pid: number;
    }
  | {
      readonly kind: "exit";
      readonly containerId: string;
      readonly execId: string;
      readonly pid: number;
      readonly exit: Exit;
    }
  | {
      readonly kind: "delete";
      readonly containerId: string;
      readonly execId: string;
      readonly pid: number;
      readonly exit: Exit;
    }
  | { readonly kind: "oom"; readonly containerId: string }
  | { readonly kind: "paused"; readonly containerId: string }
  | { readonly kind: "resumed"; readonly containerId: string };
