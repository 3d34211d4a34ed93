import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const PLUGINS = "/usr/lib/cni";

/** A CNI network configuration (containernetworking SPEC.md): `type` names the plugin. */
export type CniConfig = { readonly type: string } & Readonly<Record<string, unknown>>;

/**
 * Returns `ipam` of the host-local plugin with one range per subnet (CIDR) and a default route per address
 * family.
 */
export function hostLocal(directory: string, ...subnets: readonly string[]): object {
  return {
    type: "host-local",
    dataDir: directory,
    ranges: subnets.map((subnet) => [{ subnet }]),
    routes: subnets.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
  };
}

/** A network namespace prepared by CNI plugins, as a container engine does it. */
export class CniNetns {
  readonly #added: { config: CniConfig; ifname: string }[] = [];

  private constructor(readonly name: string) {}

  static async create(name: string): Promise<CniNetns> {
    await run("ip", ["netns", "add", name]);
    const netns = new CniNetns(name);
    await netns.add({ type: "loopback" }, "lo");
    return netns;
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Adds an interface. Resolves with its addresses, without prefix lengths. */
  async add(config: CniConfig, ifname: string): Promise<string[]> {
    this.#added.push({ config, ifname });
    const result = JSON.parse(await this.#plugin("ADD", config, ifname)) as { ips?: { address: string }[] };
    return (result.ips ?? []).map(({ address }) => address.split("/")[0] ?? "");
  }

  /** Runs a program of the host in the namespace. */
  async exec(argv: readonly string[]): Promise<string> {
    return (await run("ip", ["netns", "exec", this.name, ...argv], { maxBuffer: 16 << 20 })).stdout;
  }

  /**
   * Resolves with what a VM could have left or changed: names and addresses of interfaces, and lines of
   * qdiscs.
   */
  async state(): Promise<string[]> {
    const links = JSON.parse(await this.exec(["ip", "-j", "link"])) as {
      ifname: string;
      address: string;
    }[];
    const qdiscs = (await this.exec(["tc", "qdisc"])).trim().split("\n");
    return [
      ...links.map(({ ifname, address }) => `${ifname} ${address}`),
      ...qdiscs.map((line) => line.trim()),
    ].sort();
  }

  async remove(): Promise<void> {
    for (const { config, ifname } of this.#added.splice(0).reverse()) {
      await this.#plugin("DEL", config, ifname);
    }
    await run("ip", ["netns", "del", this.name]);
  }

  async #plugin(command: "ADD" | "DEL", config: CniConfig, ifname: string): Promise<string> {
    const env = {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_CONTAINERID: this.name,
      CNI_NETNS: this.path,
      CNI_IFNAME: ifname,
      CNI_PATH: PLUGINS,
    };
    const plugin = run(`${PLUGINS}/${config.type}`, [], { env, timeout: 120_000 });
    plugin.child.stdin?.end(JSON.stringify({ cniVersion: "1.0.0", name: `hull-${config.type}`, ...config }));
    const { stdout } = await plugin.catch((error: { stdout?: string; message: string }) => {
      throw new Error(`CNI ${config.type} ${command}: ${error.stdout || error.message}`);
    });
    return stdout === "" ? "{}" : stdout;
  }
}
