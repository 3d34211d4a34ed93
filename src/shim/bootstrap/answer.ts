import { candidates } from "../../config/parse/candidates.ts";
import { failedPrecondition } from "../../core/errors.ts";
import { runChild } from "./child.ts";
import type { DaemonBinary } from "./daemon-binary.ts";
import type { PodPaths } from "./pod-paths.ts";
import { bytesField, readFields, textField } from "./protobuf.ts";
import type { BootstrapRecord } from "./record.ts";
import type { AnyValue } from "./start-input.ts";
import { ifExists, type Sys } from "./sys.ts";

const PROTOCOL_TIMEOUT_MS = 10_000;
const VERSION_TIMEOUT_MS = 5_000;
/** Bytes of the largest configuration file that hull reads. */
const CONFIG_LIMIT = 1 << 20;
/** Matches a configuration that contains the word grpc outside comments. */
const MENTIONS_GRPC = /^[^#\n]*\bgrpc\b/m;

/**
 * Returns what `start` prints for a new pod: the address alone, which means "version 2, ttrpc" to every containerd, or
 * JSON if `shim.protocol` is grpc. The launcher has no YAML parser: if the configuration contains the word at all, it
 * runs the daemon binary to read it. So ttrpc, the default, costs nothing.
 */
export function decideAnswer(
  binary: DaemonBinary,
  paths: PodPaths,
  record: Pick<BootstrapRecord, "options" | "containerdVersion" | "publishBinary">,
): string {
  const { sys, installation } = binary;
  if (!configurationTexts(sys, installation, record.options).some((text) => MENTIONS_GRPC.test(text)))
    return paths.address;
  const protocol = binary.protocol(paths, PROTOCOL_TIMEOUT_MS);
  if (protocol !== "grpc") return paths.address;
  const version = shimVersionForGrpc(record.containerdVersion || versionOf(sys, record.publishBinary));
  // gRPC is dialled by a plain path (containerd runtime/v2, makeConnection).
  const answer = JSON.stringify({ version, address: paths.socket, protocol });
  sys.writeFile(paths.answer, answer);
  return answer;
}

/**
 * Returns the shim API version with which a containerd accepts gRPC: 2 for 1.7, 3 for 2.5 and later. Throws
 * FailedPrecondition for 1.6, which lacks gRPC, and for 2.0 to 2.4, which treat their idle gRPC connection as a crash
 * of the shim and remove its bundle (core/runtime/v2/shim.go, grpcDialContext).
 */
export function shimVersionForGrpc(containerd: string): 2 | 3 {
  const [, major, minor] = /(\d+)\.(\d+)\./.exec(containerd) ?? [];
  const number = Number(major) * 100 + Number(minor);
  if (number === 107) return 2;
  if (number >= 205) return 3;
  throw failedPrecondition(
    `shim.protocol: grpc is set, which containerd ${containerd || "of unknown version"} does not support; ` +
      "set ttrpc (gRPC shims work with 1.7; 1.6 does not support them, and 2.0 to 2.4 treat them as crashed)",
  );
}

/** Returns the version that `containerd --version` prints; empty if it prints none. */
function versionOf(sys: Sys, binary: string): string {
  if (!binary) return "";
  const { stdout } = runChild(sys, [binary, "--version"], [], VERSION_TIMEOUT_MS);
  return /\sv?(\d+\.\d+\.\S+)/.exec(stdout)?.[1] ?? "";
}

/** Returns what `start` printed for a running pod. It prints the same for each container of the pod. */
export function answerOfPod(sys: Sys, paths: PodPaths): string {
  return ifExists(() => text(sys.readFile(paths.answer))) ?? paths.address;
}

/** Reads the files of the configuration like config/parse/sources.ts. */
function configurationTexts(sys: Sys, installation: string, options: AnyValue | undefined): string[] {
  const { configPath, configBody } = configOf(options);
  if (!configPath && configBody) return [configBody];
  const env = { HULL_CONFIG: sys.getenv("HULL_CONFIG") };
  for (const { file } of candidates({ configPath }, { env, installation })) {
    const base = ifExists(() => text(sys.readFile(file, CONFIG_LIMIT)));
    if (base === undefined) continue;
    const directory = `${file.slice(0, file.lastIndexOf("/"))}/config.d`;
    const names = ifExists(() => sys.readdir(directory)) ?? [];
    const dropIns = names.filter((name) => name.endsWith(".yaml"));
    return [base, ...dropIns.map((name) => text(sys.readFile(`${directory}/${name}`, CONFIG_LIMIT)))];
  }
  return [];
}

/** Decodes runtimeoptions.v1.Options: config_path = 2, config_body = 3. */
function configOf(options: AnyValue | undefined): { configPath: string; configBody: string } {
  if (!options?.typeUrl.endsWith("runtimeoptions.v1.Options")) return { configPath: "", configBody: "" };
  const fields = readFields(options.value);
  return { configPath: textField(fields, 2), configBody: text(bytesField(fields, 3) ?? new Uint8Array()) };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
