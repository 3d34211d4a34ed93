import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import type { DetachedMount } from "./detached-mount.ts";
import { type MountSpec, mount } from "./mount.ts";
import type { MountApi } from "./mount-api.ts";
import { fitOptions, splitOptions } from "./mount-options.ts";

/**
 * Runs `use` with a file system that containerd describes, not a bind; it is gone afterwards unless attached.
 * `scratch`: see `mountOne`. Throws InvalidArgument if an overlay's options are too long.
 */
export async function withFileSystem(
  spec: MountSpec,
  scratch: string,
  api: MountApi,
  deadline: Deadline,
  use: (mount: DetachedMount) => Promise<void>,
): Promise<void> {
  deadline.check();
  const image = await isImage(spec, api);
  if (image || (await hasHelper(spec.type))) return await byTool(spec, image, scratch, api, deadline, use);
  const { flags, rest } = splitOptions(spec.options);
  const fitted = fit(rest, spec);
  const source = spec.source === "" ? "none" : spec.source;
  await api.withNew({ type: spec.type, source, flags, ...fitted }, scratch, use);
}

function fit(options: readonly string[], { source, type }: MountSpec) {
  try {
    return fitOptions(options);
  } catch (thrown) {
    throw HullError.wrap(`mount ${source} (${type})`, thrown);
  }
}

/** An image file needs a loop device. */
async function isImage({ source, options }: MountSpec, api: MountApi): Promise<boolean> {
  if (options.includes("loop")) return true;
  if (!source.startsWith("/")) return false;
  return await api.withSource(source, async (found) => (await found.stat()).kind === "file");
}

/** Whether mount(8) has a helper program for a type, or must detect the type. */
async function hasHelper(type: string): Promise<boolean> {
  if (["", "auto"].includes(type) || type.startsWith("fuse")) return true;
  return await access(`/sbin/mount.${type}`).then(
    () => true,
    () => false,
  );
}

/**
 * mount(8) takes only paths, which this process resolves: it mounts in a directory of ours, an image by a
 * bind there.
 */
async function byTool(
  spec: MountSpec,
  image: boolean,
  scratch: string,
  api: MountApi,
  deadline: Deadline,
  use: (mount: DetachedMount) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(scratch, "mount-"));
  const [at, file] = [join(directory, "at"), join(directory, "image")];
  try {
    await mkdir(at);
    if (image) {
      await writeFile(file, "");
      await api.bind(spec.source, [], { directory: directory, path: "image" });
    }
    await mount(image ? { ...spec, source: file } : spec, at, deadline);
    await api.withClone(at, false, use);
  } finally {
    for (const path of [at, file]) await api.unmount(path);
    await rm(directory, { recursive: true });
  }
}
