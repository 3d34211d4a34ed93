import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { BUSYBOX, type Ctr } from "../testkit/ctr.ts";

const run = promisify(execFile);

interface Spec {
  process: { args: string[]; env: string[]; terminal?: boolean };
  root: { path: string; readonly?: boolean };
  mounts: { destination: string; type: string; source: string; options: string[] }[];
  annotations?: Record<string, string>;
  linux: { cgroupsPath: string; namespaces: { type: string; path?: string }[] };
}

export interface BundleOptions {
  readonly args: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Host directory mounted at /data. */
  readonly data?: string;
}

/** Creates OCI bundles of the busybox image for shims that are driven without containerd. */
export class Bundles {
  private constructor(
    private readonly directory: string,
    private readonly rootfs: string,
    private readonly spec: string,
  ) {}

  static async prepare(ctr: Ctr, directory: string): Promise<Bundles> {
    const rootfs = join(directory, "rootfs");
    const mounted = join(directory, "image");
    await mkdir(mounted, { recursive: true });
    await ctr.expect(["images", "mount", BUSYBOX, mounted]);
    try {
      await run("cp", ["-a", mounted, rootfs]);
    } finally {
      await ctr.expect(["images", "unmount", "--rm", mounted]);
    }
    return new Bundles(directory, rootfs, (await ctr.expect(["oci", "spec"])).stdout);
  }

  /**
   * Writes a bundle with containerd's default spec and the FIFO for the shim's log. Resolves with its
   * directory.
   */
  async make(id: string, options: BundleOptions): Promise<string> {
    const bundle = join(this.directory, "bundles", id);
    await mkdir(bundle, { recursive: true });
    const spec = JSON.parse(this.spec) as Spec;
    spec.process.args = [...options.args];
    spec.process.env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
    spec.root = { path: this.rootfs };
    spec.annotations = { ...options.annotations };
    spec.linux.cgroupsPath = `/hull-bench/${id}`;
    if (options.data !== undefined) {
      const bind = { destination: "/data", type: "bind", source: options.data, options: ["rbind", "rw"] };
      spec.mounts.push(bind);
    }
    await writeFile(join(bundle, "config.json"), JSON.stringify(spec));
    await run("mkfifo", [join(bundle, "log")]);
    return bundle;
  }
}
