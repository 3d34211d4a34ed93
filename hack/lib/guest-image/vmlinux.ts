// Extracts the uncompressed kernel, an ELF file with the PVH entry note, from a bzImage. The header is described in the
// kernel's Documentation/arch/x86/boot.rst; Debian 12's cloud kernel is an LZ4 legacy frame (lz4_Frame_format.md), Debian 13's a
// Zstandard frame.
import { execFileSync } from "node:child_process";

const HEADER_MAGIC = 0x202;
const LZ4_LEGACY = 0x184c2102;
const ZSTD = 0xfd2fb528;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const PT_NOTE = 4;

/** Decodes an LZ4 block to `target` from `start` on; returns the position after the last byte written. */
function decodeBlock(source: Buffer, target: Buffer, start: number): number {
  let from = 0;
  let at = start;
  const byte = () => source[from++] ?? 0;
  const length = (nibble: number) => {
    let count = nibble;
    for (let more = nibble === 15 ? 255 : 0; more === 255; count += more) more = byte();
    return count;
  };
  while (from < source.length) {
    const token = byte();
    const literals = length(token >> 4);
    if (from + literals > source.length || at + literals > target.length)
      throw new Error("LZ4 block is damaged");
    target.set(source.subarray(from, from + literals), at);
    from += literals;
    at += literals;
    if (from === source.length) return at;
    const distance = byte() | (byte() << 8);
    const end = at + length(token & 15) + 4;
    if (distance === 0 || distance > at || end > target.length) throw new Error("LZ4 block is damaged");
    if (distance >= end - at) target.copyWithin(at, at - distance, end - distance);
    else for (let i = at; i < end; i++) target[i] = target[i - distance] ?? 0;
    at = end;
  }
  throw new Error("LZ4 block ends within a sequence");
}

/** Decodes a legacy frame with a decoded size of `size` bytes. */
function decodeLegacyFrame(frame: Buffer, size: number): Buffer {
  const target = Buffer.alloc(size);
  let at = 0;
  for (let from = 4; at < size; ) {
    const length = frame.readUInt32LE(from);
    from += 4;
    at = decodeBlock(frame.subarray(from, from + length), target, at);
    from += length;
  }
  return target;
}

/** Returns whether an ELF file has the note with the address of the 32-bit PVH entry. */
export function hasPvhEntry(elf: Buffer): boolean {
  const headers = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  for (let i = 0; i < count; i++) {
    const header = headers + i * size;
    if (elf.readUInt32LE(header) !== PT_NOTE) continue;
    let at = Number(elf.readBigUInt64LE(header + 8));
    const end = at + Number(elf.readBigUInt64LE(header + 32));
    while (at + 12 <= end) {
      const nameSize = elf.readUInt32LE(at);
      const dataSize = elf.readUInt32LE(at + 4);
      const type = elf.readUInt32LE(at + 8);
      const name = elf.toString("latin1", at + 12, at + 12 + nameSize);
      if (type === XEN_ELFNOTE_PHYS32_ENTRY && name === "Xen\0") return true;
      at += 12 + ((nameSize + 3) & ~3) + ((dataSize + 3) & ~3);
    }
  }
  return false;
}

/** Decodes a kernel, to which the kernel's build has appended its size. */
function decoded(payload: Buffer): Buffer {
  const magic = payload.readUInt32LE(0);
  const size = payload.readUInt32LE(payload.length - 4);
  if (magic === LZ4_LEGACY) return decodeLegacyFrame(payload, size);
  if (magic !== ZSTD)
    throw new Error(`the kernel is not compressed with LZ4 or Zstandard (magic ${magic.toString(16)})`);
  return execFileSync("zstd", ["-dc"], { input: payload.subarray(0, -4), maxBuffer: size + 1 });
}

/** Returns the kernel in a bzImage. Throws unless it is one, its compression is known, and it has a PVH entry. */
export function extractVmlinux(bzImage: Buffer): Buffer {
  if (bzImage.toString("latin1", HEADER_MAGIC, HEADER_MAGIC + 4) !== "HdrS") throw new Error("not a bzImage");
  const setupSectors = bzImage[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c));
  const vmlinux = decoded(payload);
  if (vmlinux.readUInt32BE(0) !== 0x7f454c46) throw new Error("the kernel's payload is not an ELF file");
  if (!hasPvhEntry(vmlinux)) throw new Error("the kernel has no PVH entry (CONFIG_PVH)");
  return vmlinux;
}
