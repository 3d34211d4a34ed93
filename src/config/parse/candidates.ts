import type { RuntimeOptions } from "./runtime-options.ts";

/** A file that may be the configuration. */
interface Candidate {
  readonly file: string;
  /** What named it, for messages. */
  readonly by: "runtime options" | "HULL_CONFIG" | "default";
  /** Whether it must exist, because it was named explicitly. */
  readonly required: boolean;
}

/** Where to look for the configuration. */
export interface Places {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The directory that contains bin/, guest/ and configs/. */
  readonly installation: string;
  /** The root of the file system, for tests. */
  readonly root?: string;
}

/**
 * Lists every file that may be the configuration; the first that exists is used. Pure, since the launcher, which does
 * not run in Node, looks in the same places.
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
