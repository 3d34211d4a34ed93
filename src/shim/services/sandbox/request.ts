import { basename, join } from "node:path";
import { HullError, invalidArgument } from "../../../core/errors.ts";
import type { SandboxRequest } from "../../../oci/sandbox-request.ts";
import { refuseHostNamespace, sandboxRequest } from "../../../oci/sandbox-request.ts";
import { readSpec } from "../../../oci/spec.ts";
import type { CreateSandboxRequest } from "../../../proto/generated/containerd/runtime/sandbox/v1/sandbox.ts";
import type { Any } from "../../../proto/generated/google/protobuf/any.ts";
import {
  type LinuxPodSandboxConfig,
  NamespaceMode,
  PodSandboxConfig,
} from "../../../proto/generated/runtime/v1/pod_sandbox_config.ts";
import { cgroupDirectory } from "../../../resources/cgroup-path.ts";
import { limitsOfResources } from "../../../resources/pod-limits.ts";
import { writePodFiles } from "./pod-files.ts";

const CONFIG_TYPE = "runtime.v1.PodSandboxConfig";

/**
 * Returns the sandbox that CreateSandbox requests: from CRI's pod configuration, and the bundle's `config.json` if the
 * client wrote one (CRI does not). Writes the pod's files below `podDirectory`.
 */
export async function readSandboxRequest(
  request: CreateSandboxRequest,
  podDirectory: string,
): Promise<SandboxRequest> {
  const { sandboxId: id } = request;
  const config = decodeConfig(request.options);
  const namespaces = config?.linux?.securityContext?.namespaceOptions;
  for (const namespace of ["network", "pid", "ipc"] as const) {
    if (namespaces?.[namespace] === NamespaceMode.NODE) refuseHostNamespace(namespace);
  }
  const spec = await bundleSpec(request.bundlePath);
  const base: SandboxRequest = sandboxRequest(spec ?? {}, id);
  const hostname = config?.hostname || base.hostname;
  return {
    ...base,
    hostname,
    netns: request.netnsPath || base.netns,
    // Any sysctl is allowed: it only affects the pod's VM.
    sysctls: { ...base.sysctls, ...config?.linux?.sysctls },
    annotations: { ...base.annotations, ...config?.annotations, ...request.annotations },
    ...(config?.linux && limitsAndCgroup(config.linux, id)),
    files: await writePodFiles(join(podDirectory, "etc"), hostname, config?.dnsConfig),
  };
}

/** Returns limits and cgroup of CRI's pod configuration. */
function limitsAndCgroup({ resources, cgroupParent }: LinuxPodSandboxConfig, id: string) {
  const { memoryLimitInBytes = 0n, cpuQuota = 0n, cpuPeriod = 0n, cpuShares = 0n } = resources ?? {};
  return {
    limits: limitsOfResources({
      memory: { limit: Number(memoryLimitInBytes) },
      cpu: { quota: Number(cpuQuota), period: Number(cpuPeriod), shares: Number(cpuShares) },
    }),
    ...(cgroupParent && { cgroup: cgroupDirectory(sandboxCgroup(cgroupParent, id)) }),
  };
}

/** Returns the cgroup path that containerd's CRI plugin gives the sandbox container (`getCgroupsPath`). */
function sandboxCgroup(parent: string, id: string): string {
  const name = basename(parent);
  return name.endsWith(".slice") ? `${name}:cri-containerd:${id}` : join(parent, id);
}

function decodeConfig(options: Any | undefined): PodSandboxConfig | undefined {
  if (!options || options.typeUrl === "") return undefined;
  const type = options.typeUrl.split("/").at(-1);
  if (type !== CONFIG_TYPE)
    throw invalidArgument(`create sandbox: options are of type "${type}", expected ${CONFIG_TYPE}`);
  try {
    return PodSandboxConfig.decode(options.value);
  } catch (error) {
    throw invalidArgument(`create sandbox: options: ${HullError.from(error).message}`);
  }
}

async function bundleSpec(bundle: string) {
  if (!bundle) return undefined;
  try {
    return await readSpec(bundle);
  } catch (error) {
    if (HullError.from(error).code === "NotFound") return undefined;
    throw error;
  }
}
