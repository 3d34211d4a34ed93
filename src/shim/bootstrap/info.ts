import { VERSION } from "../../core/version.ts";
import { MessageWriter } from "./protobuf.ts";
import { RUNTIME_NAME } from "./runtime-name.ts";

/**
 * OCI runtime features (runtime-spec, features.md). User namespaces and id-mapped mounts are missing, so that CRI
 * rejects pods that need them.
 */
const FEATURES = {
  ociVersionMin: "1.0.0",
  ociVersionMax: "1.1.0",
  mountOptions: [
    "bind",
    "dev",
    "exec",
    "noatime",
    "nodev",
    "noexec",
    "nosuid",
    "rbind",
    "ro",
    "rprivate",
    "rro",
    "rw",
    "suid",
  ],
  linux: {
    namespaces: ["cgroup", "ipc", "mount", "network", "pid", "uts"],
    cgroup: { v1: false, v2: true, systemd: false },
    mountExtensions: { idmap: { enabled: false } },
  },
};

/** Returns what `-info` prints: an encoded containerd.types.RuntimeInfo. */
export function runtimeInfo(): Uint8Array {
  const features = new MessageWriter()
    .bytes(1, "types.containerd.io/opencontainers/runtime-spec/1/features/Features")
    .bytes(2, JSON.stringify(FEATURES));
  return new MessageWriter()
    .bytes(1, RUNTIME_NAME)
    .bytes(2, new MessageWriter().bytes(1, VERSION).finish())
    .bytes(4, features.finish())
    .finish();
}
