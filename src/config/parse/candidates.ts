import type { RuntimeOptions } from "./runtime-options.ts";

/** A place where the configuration may be, in the order in which they are tried. */
export interface Candidate {
  readonly file: string;
  /** Who named it, for messages. */
  readonly by: "runtime options" | "HULL_CONFIG" | "default";
  /** Named by somebody: it must exist. */
  readonly required: boolean;
}

export interface Places {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that holds bin/, guest/ and configs/. */
  readonly installation: string;
  /** The root of the file system, for tests. */
  readonly root?: string;
}

/**
 * Every file that may be the configuration; the first that exists is the one. Pure: the launcher, which is not Node,
 * looks in the same places.
 */
export function candidates(options: RuntimeOptions, { env, installation, root = "" }: Places): Candidate[] {
  const found: Candidate[] = [];
  if (options.configPath) found.push({ file: options.configPath, by: "runtime options", required: true });
  if (env.HULL_CONFIG) found.push({ file: env.HULL_CONFIG, by: "HULL_CONFIG", required: true });
  for (const file of [
    `${root}/etc/hull/config.yaml`,
    `${root}/usr/share/defaults/hull/config.yaml`,
    `${installation}/configs/qemu.yaml`,
  ]) {
    found.push({ file, by: "default", required: false });
  }
  return found;
}
