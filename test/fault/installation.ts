import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../testkit/containerd.ts";
import type { Faults, Fired } from "./inside/control.ts";

const DIST = join(ROOT, "dist");

/**
 * An installation of hull whose pods can be made to fail: the build's own files, and in place of `lib/node` a
 * script that has Node load the failpoints first. Nothing of hull itself knows of it.
 */
export class FaultyInstallation {
  private constructor(readonly directory: string) {}

  /** Makes it in a directory, which must not exist. */
  static async create(directory: string): Promise<FaultyInstallation> {
    const at = (...names: string[]) => join(directory, ...names);
    for (const name of ["", "bin", "lib", "faults"]) await mkdir(at(name));
    for (const name of ["libexec", "guest", "configs"]) await symlink(join(DIST, name), at(name));
    for (const name of await readdir(join(DIST, "lib"))) {
      if (name !== "node") await symlink(join(DIST, "lib", name), at("lib", name));
    }
    // Not a link: the launcher finds its installation by its own executable.
    await copyFile(join(DIST, "bin/containerd-shim-hull-v2"), at("bin/containerd-shim-hull-v2"));
    await build({
      entryPoints: [join(import.meta.dirname, "inside/main.ts")],
      outfile: at("lib/failpoints.cjs"),
      ...{ bundle: true, platform: "node", target: "node20", format: "cjs", logLevel: "warning" },
    });
    const node = await realpath(join(DIST, "lib/node"));
    await writeFile(at("lib/node"), `#!/bin/sh\nexec ${node} --require ${at("lib/failpoints.cjs")} "$@"\n`);
    await chmod(at("lib/node"), 0o755);
    return new FaultyInstallation(directory);
  }

  /** The runtime's name, which for containerd may be a path. */
  get runtime(): string {
    return join(this.directory, "bin/containerd-shim-hull-v2");
  }

  /** Sets the failpoints of a pod that is started next. */
  async arm(pod: Pod, faults: Faults): Promise<void> {
    await writeFile(this.#file(pod), JSON.stringify(faults));
  }

  /** What failpoints of the pod have done so far. */
  async fired(pod: Pod): Promise<Fired[]> {
    const text = await readFile(`${this.#file(pod)}.fired`, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return "";
    });
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Fired);
  }

  /** The pod's programs work as they should from their next start on. */
  async disarm(pod: Pod): Promise<void> {
    for (const end of ["", ".fired"]) await rm(`${this.#file(pod)}${end}`, { force: true });
  }

  #file({ namespace, id }: Pod): string {
    return join(this.directory, "faults", `${namespace}.${id}`);
  }
}

interface Pod {
  readonly namespace: string;
  readonly id: string;
}
