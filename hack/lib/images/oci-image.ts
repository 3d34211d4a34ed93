/**
 * Builds OCI image layouts as tar archives. Reproducible: no times, no user names, sorted blobs.
 * Formats: POSIX.1-1988 ustar (tar(5)); OCI image-spec, image-layout.md and config.md.
 */
import { sha256 } from "../run.ts";

const BLOCK = 512;
const TYPES = { file: "0", hardlink: "1", symlink: "2", directory: "5" };

/** An entry of an archive, by default owned by root. */
export interface TarEntry {
  readonly path: string;
  readonly type: keyof typeof TYPES;
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly data?: Buffer;
  /** The target of a link. */
  readonly target?: string;
}

/** An image with one layer. */
export interface Image {
  /** Its full reference in containerd. */
  readonly name: string;
  readonly files: readonly TarEntry[];
  /** The `config` object of the OCI image config. */
  readonly config: Readonly<Record<string, readonly string[]>>;
}

/** A reference to a blob (OCI image-spec, descriptor.md). */
interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Returns a ustar header. Throws for paths longer than 100 bytes, which the test images do not have. */
function header({ path, type, mode, uid = 0, gid = 0, target = "" }: TarEntry, size: number): Buffer {
  if (Buffer.byteLength(path) > 100 || Buffer.byteLength(target) > 100)
    throw new Error(`${path}: longer than 100 bytes`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  block.write(path, 0);
  block.write(octal(mode, 7), 100);
  block.write(octal(uid, 7), 108);
  block.write(octal(gid, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  block.fill(" ", 148, 156);
  block.write(TYPES[type], 156);
  block.write(target, 157);
  block.write("ustar\0" + "00", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** Returns a tar archive of the entries in order. A hard link must follow its target. */
function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const data = entry.data ?? Buffer.alloc(0);
    parts.push(header(entry, data.length), data);
    const rest = data.length % BLOCK;
    if (rest > 0) parts.push(Buffer.alloc(BLOCK - rest));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

/** Returns an OCI layout with the images, as a tar archive. */
export function ociLayout(images: readonly Image[], architecture: string): Buffer {
  const blobs = new Map<string, Buffer>();
  const put = (mediaType: string, bytes: Buffer): Descriptor => {
    const hex = sha256(bytes);
    blobs.set(`blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: object) => Buffer.from(JSON.stringify(value));

  const manifests = images.map(({ name, files, config }) => {
    const layer = put("application/vnd.oci.image.layer.v1.tar", tar(files));
    const imageConfig = put(
      "application/vnd.oci.image.config.v1+json",
      json({ architecture, os: "linux", config, rootfs: { type: "layers", diff_ids: [layer.digest] } }),
    );
    const manifest = put(
      "application/vnd.oci.image.manifest.v1+json",
      json({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: imageConfig,
        layers: [layer],
      }),
    );
    return {
      ...manifest,
      platform: { architecture, os: "linux" },
      annotations: {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.split(":").at(-1),
      },
    };
  });

  const files: [string, Buffer][] = [
    ["oci-layout", json({ imageLayoutVersion: "1.0.0" })],
    ["index.json", json({ schemaVersion: 2, manifests })],
    ...[...blobs].sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  return tar([
    ...["blobs/", "blobs/sha256/"].map((path) => ({ path, type: "directory", mode: 0o755 }) as const),
    ...files.map(([path, data]) => ({ path, type: "file", mode: 0o644, data }) as const),
  ]);
}
