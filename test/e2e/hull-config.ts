import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { ROOT } from "../testkit/containerd.ts";

export const DIST = join(ROOT, "dist");

type Section = Record<string, unknown>;

/**
 * Writes the configuration of HULL_CONFIG, by default the build's for QEMU, with some keys changed, by section:
 * `{ hypervisor: { kernel: "/x" } }`. Default paths remain the build's.
 */
export async function writeConfig(file: string, changes: Record<string, Section>): Promise<void> {
  const source = process.env.HULL_CONFIG ?? join(DIST, "configs/qemu.yaml");
  const config = parse(await readFile(source, "utf8")) as Record<string, Section | number | null>;
  const guest = join(DIST, "guest");
  const defaults = { kernel: join(guest, "vmlinux"), initrd: join(guest, "initrd.img") };
  config.hypervisor = { ...defaults, ...(config.hypervisor as Section | null) };
  for (const [section, keys] of Object.entries(changes)) {
    config[section] = { ...(config[section] as Section | null | undefined), ...keys };
  }
  await writeFile(file, stringify(config));
}
