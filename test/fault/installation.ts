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
 * An installation of hull whose pods can be made to fail: the files of the build, with `lib/node` replaced by
 * a script that makes Node load the failpoints first. hull itself is unchanged.
 */
export class FaultyInstallation {
  private constructor(readonly directory: string) {}

  /** Creates it in a directory, which must not exist. */
  static async create(directory: string): Promise<FaultyInstallation> {
    const at = (...names: string[]) => join(directory, ...names);
    for (const name of ["", "bin", "lib", "faults"]) await mkdir(at(name));
    for (const name of ["libexec", "guest", "configs"]) await symlink(join(DIST, name), at(name));
    for (const name of await readdir(join(DIST, "lib"))) {
      if (name !== "node") await symlink(join(DIST, "lib", name), at("lib", name));
    }
    // Not a symlink: the launcher finds its installation by its executable.
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

  /** The runtime's name, which may be a path in containerd. */
  get runtime(): string {
    return join(this.directory, "bin/containerd-shim-hull-v2");
  }

  /** Sets the failpoints of a pod before it is started. */
  async arm(pod: Pod, faults: Faults): Promise<void> {
    await writeFile(this.#file(pod), JSON.stringify(faults));
  }

  /** Resolves with the actions of the pod's failpoints so far. */
  async fired(pod: Pod): Promise<Fired[]> {
    const text = await readFile(`${this.#file(pod)}.fired`, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return "";
    });
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Fired);
  }

  /** Removes the failpoints of the pod's programs from their next start on. */
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
