import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { DIST, writeConfig } from "../e2e/hull-config.ts";

/** A runtime in one configuration. */
export interface Subject {
  readonly name: "runc" | "hull cold" | "hull template";
  /** containerd's runtime type. */
  readonly runtime: string;
  /** The shim's executable. */
  readonly shim: string;
  /** hull's configuration file. */
  readonly config: string | undefined;
}

/** Returns the flags with which `ctr run` uses this subject. */
export function runFlags({ runtime, config }: Subject): string[] {
  return ["--runtime", runtime, ...(config === undefined ? [] : ["--runtime-config-path", config])];
}

interface Subjects {
  readonly all: readonly Subject[];
  /** Subjects that are skipped, and why. */
  readonly absent: readonly { readonly name: Subject["name"]; readonly reason: string }[];
}

/**
 * Prepares runc, hull with a cold boot, and hull with a template if this build's configuration supports
 * templates.
 */
export async function prepareSubjects(directory: string): Promise<Subjects> {
  // DIR/ctr (hack/containerd) executes the ctr of its release line, which is in the same directory as runc's
  // shim.
  const ctr = /exec "([^"]+)"/.exec(await readFile(join(directory, "ctr"), "utf8"))?.[1];
  if (ctr === undefined) throw new Error(`${directory}/ctr does not name the ctr it executes`);
  const bench = join(directory, "bench");
  await mkdir(bench, { recursive: true });
  const hull = async (name: Subject["name"], enable: boolean | undefined): Promise<Subject> => {
    const config = join(bench, `${name.replace(" ", "-")}.yaml`);
    await writeConfig(config, enable === undefined ? {} : { hypervisor: { template: { enable } } });
    await loadConfig({ env: { HULL_CONFIG: config }, installation: DIST });
    const shim = join(DIST, "bin/containerd-shim-hull-v2");
    return { name, runtime: "io.containerd.hull.v2", shim, config };
  };
  const all: Subject[] = [
    {
      name: "runc",
      runtime: "io.containerd.runc.v2",
      shim: join(dirname(ctr), "containerd-shim-runc-v2"),
      config: undefined,
    },
  ];
  try {
    const template = await hull("hull template", true);
    all.push(await hull("hull cold", false), template);
    return { all, absent: [] };
  } catch (error) {
    const reason = `this build's configuration refuses hypervisor.template.enable: ${(error as Error).message}`;
    all.push(await hull("hull cold", undefined));
    return { all, absent: [{ name: "hull template", reason }] };
  }
}
