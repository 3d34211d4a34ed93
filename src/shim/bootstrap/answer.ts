import { candidates } from "../../config/parse/candidates.ts";
import { failedPrecondition } from "../../core/errors.ts";
import { runChild } from "./child.ts";
import type { PodPaths } from "./pod-paths.ts";
import { bytesField, readFields, textField } from "./protobuf.ts";
import { type Installation, runDaemonBinary } from "./spawn-daemon.ts";
import type { AnyValue } from "./start-input.ts";
import { ifExists, type Sys } from "./sys.ts";

const PROTOCOL_LIMIT_MS = 10_000;
const VERSION_LIMIT_MS = 5_000;
/** The largest configuration that hull reads. */
const CONFIG_LIMIT = 1 << 20;
/** A line that says grpc outside a comment. */
const SAYS_GRPC = /^[^#\n]*\bgrpc\b/m;

/** Which containerd asks. */
interface Asker {
  /** Empty where it does not say (before 2.3). */
  readonly version: string;
  /** Its executable. */
  readonly binary: string;
}

/**
 * What `start` prints for a new pod: the bare address, which every containerd takes as "version 2, ttrpc", or JSON
 * where the configuration says `shim.protocol: grpc`. The launcher has no YAML parser: only where the word is in the
 * configuration at all it asks the daemon binary, which reads it properly. So ttrpc costs nothing.
 */
export function decideAnswer(
  sys: Sys,
  installation: Installation,
  paths: PodPaths,
  options: AnyValue | undefined,
  asker: Asker,
): string {
  if (!configurationTexts(sys, installation, options).some((text) => SAYS_GRPC.test(text)))
    return paths.address;
  const protocol = runDaemonBinary(sys, installation, "protocol", paths, PROTOCOL_LIMIT_MS).stdout.trim();
  if (protocol !== "grpc") return paths.address;
  const version = shimVersionForGrpc(asker.version || versionOf(sys, asker.binary));
  // gRPC is dialled by a plain path (containerd runtime/v2, makeConnection).
  const answer = JSON.stringify({ version, address: paths.socket, protocol });
  sys.writeFile(paths.answer, answer);
  return answer;
}

/**
 * The shim API version that a containerd takes together with gRPC: 2 in 1.7, 3 in 2.x. From 2.0 to 2.4 it makes a
 * connection that is idle at first and takes that for the shim's end, so it removes every gRPC shim's bundle at once
 * (core/runtime/v2/shim.go, grpcDialContext). Throws FailedPrecondition for these and for 1.6, which has no gRPC.
 */
export function shimVersionForGrpc(containerd: string): 2 | 3 {
  const [, major, minor] = /(\d+)\.(\d+)\./.exec(containerd) ?? [];
  const number = Number(major) * 100 + Number(minor);
  if (number === 107) return 2;
  if (number >= 205) return 3;
  throw failedPrecondition(
    `shim.protocol: grpc is set, which containerd ${containerd || "of unknown version"} does not support: ` +
      "set ttrpc (gRPC shims work with 1.7; 1.6 does not support them, and 2.0 to 2.4 treat them as crashed)",
  );
}

/** What \`containerd --version\` says; empty when it cannot be run. */
function versionOf(sys: Sys, binary: string): string {
  if (!binary) return "";
  const { stdout } = runChild(sys, [binary, "--version"], [], VERSION_LIMIT_MS);
  return /\sv?(\d+\.\d+\.\S+)/.exec(stdout)?.[1] ?? "";
}

/** What `start` printed for a pod that runs: its members are told the same. */
export function answerOfPod(sys: Sys, paths: PodPaths): string {
  return ifExists(() => text(sys.readFile(paths.answer))) ?? paths.address;
}

/** The texts that the configuration is made from, see config/parse/sources.ts. */
function configurationTexts(sys: Sys, installation: Installation, options: AnyValue | undefined): string[] {
  const { configPath, configBody } = configOf(options);
  if (!configPath && configBody) return [configBody];
  const env = { HULL_CONFIG: sys.getenv("HULL_CONFIG") };
  for (const { file } of candidates({ configPath }, { env, installation: installation.prefix })) {
    const base = ifExists(() => text(sys.readFile(file, CONFIG_LIMIT)));
    if (base === undefined) continue;
    const directory = `${file.slice(0, file.lastIndexOf("/"))}/config.d`;
    const names = ifExists(() => sys.readdir(directory)) ?? [];
    const dropIns = names.filter((name) => name.endsWith(".yaml"));
    return [base, ...dropIns.map((name) => text(sys.readFile(`${directory}/${name}`, CONFIG_LIMIT)))];
  }
  return [];
}

/** runtimeoptions.v1.Options: config_path = 2, config_body = 3. */
function configOf(options: AnyValue | undefined): { configPath: string; configBody: string } {
  if (!options?.typeUrl.endsWith("runtimeoptions.v1.Options")) return { configPath: "", configBody: "" };
  const fields = readFields(options.value);
  return { configPath: textField(fields, 2), configBody: text(bytesField(fields, 3) ?? new Uint8Array()) };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
