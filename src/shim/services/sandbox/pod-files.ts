import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HullError, ignoring, invalidArgument } from "../../../core/errors.ts";
import type { PodFile } from "../../../oci/sandbox-request.ts";
import type { DNSConfig } from "../../../proto/generated/runtime/v1/pod_sandbox_config.ts";

const HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/**
 * Writes a pod's hostname, hosts and resolv.conf to `directory`, which containerd leaves to a shim that is the
 * sandboxer. Without DNS settings the pod gets the host's resolv.conf, as always in CRI.
 */
export async function writePodFiles(
  directory: string,
  hostname: string,
  dns: DNSConfig | undefined,
): Promise<PodFile[]> {
  const contents: readonly (readonly [string, string])[] = [
    ["hostname", `${hostname}\n`],
    ["hosts", HOSTS],
    ["resolv.conf", dns && isSet(dns) ? resolvConf(dns) : await hostResolvConf()],
  ];
  try {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await Promise.all(
      contents.map(([name, text]) => writeFile(join(directory, name), text, { mode: 0o644 })),
    );
  } catch (error) {
    throw HullError.wrap(`write the pod's files to ${directory}`, error);
  }
  return contents.map(([name]) => ({ source: join(directory, name), destination: `/etc/${name}` }));
}

const isSet = ({ servers, searches, options }: DNSConfig) =>
  servers.length + searches.length + options.length > 0;

/** Returns the text of resolv.conf(5). Throws InvalidArgument for a value that is not a single word. */
function resolvConf({ servers, searches, options }: DNSConfig): string {
  for (const word of [...servers, ...searches, ...options]) {
    if (!/^[^\s#;]+$/.test(word))
      throw invalidArgument(`pod sandbox configuration: dns_config: ${JSON.stringify(word)} is not one word`);
  }
  const lines = servers.map((server) => `nameserver ${server}`);
  if (searches.length > 0) lines.push(`search ${searches.join(" ")}`);
  if (options.length > 0) lines.push(`options ${options.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

async function hostResolvConf(): Promise<string> {
  try {
    return (await readFile("/etc/resolv.conf", "utf8").catch(ignoring("ENOENT"))) ?? "";
  } catch (error) {
    throw HullError.wrap("the host's resolv.conf", error);
  }
}
