/** Assertions for the programs in this directory, which run in the real engine, without node:assert. */
// biome-ignore lint/style/useNodejsImportProtocol: the module of this directory, not Node's
import * as sys from "sys";

let checks = 0;
const pending: [name: string, test: () => void | Promise<void>][] = [];

/** Registers a test for `runAll`. */
export function test(name: string, body: () => void | Promise<void>): void {
  pending.push([name, body]);
}

/** Throws unless both values have the same JSON. */
export function equal(actual: unknown, expected: unknown, what = ""): void {
  checks++;
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: expected ${b}, got ${a}`);
}

/** Throws unless the condition is true. */
export function check(condition: boolean, what: string): void {
  checks++;
  if (!condition) throw new Error(what);
}

/** Returns the error that `body` throws. Throws unless its `code` is as expected. */
export function throwsCode(code: string, body: () => unknown): Error & { code: string; errno: number } {
  checks++;
  try {
    body();
  } catch (error) {
    const failure = error as Error & { code: string; errno: number };
    if (failure.code === code) return failure;
    throw new Error(`expected ${code}, got ${failure.code} (${failure.message})`);
  }
  throw new Error(`expected ${code}, but nothing was thrown`);
}

/** Returns a string as UTF-8. */
export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Returns UTF-8 as a string. */
export const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
/** Resolves after `ms` milliseconds. */
export const sleep = (ms: number): Promise<void> => new Promise((done) => void setTimeout(done, ms));

let directories = 0;
/** Creates a directory in the one that the test runner passes as the first argument. */
export function scratch(): string {
  const path = `${sys.argv()[1]}/${++directories}`;
  sys.mkdirp(path, 0o700);
  return path;
}

/** Reads `fd` (non-blocking) to its end, or up to the limit. */
export function readAll(fd: number, limit = 64 * 2 ** 20): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  return new Promise((resolve) => {
    const buffer = new Uint8Array(65536);
    const end = (): void => {
      sys.unwatch(fd);
      const all = new Uint8Array(total);
      let at = 0;
      for (const part of parts) {
        all.set(part, at);
        at += part.length;
      }
      resolve(all);
    };
    sys.watch(fd, { read: true }, () => {
      const count = sys.read(fd, buffer, 0, buffer.length);
      if (count > 0) {
        parts.push(buffer.slice(0, count));
        total += count;
      }
      if (count === 0 || total > limit) end();
    });
  });
}

/** Writes all of `bytes` to `fd` (non-blocking). */
export function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  let at = 0;
  return new Promise((resolve) => {
    sys.watch(fd, { write: true }, () => {
      const count = sys.write(fd, bytes, at, bytes.length - at);
      if (count > 0) at += count;
      if (at < bytes.length) return;
      sys.unwatch(fd);
      resolve();
    });
  });
}

/** FNV-1a over 32-bit words (and the rest bytewise): enough to detect a lost, duplicated or moved byte. */
export function checksum(bytes: Uint8Array): number {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ (words[i] as number), 0x01000193);
  for (const byte of aligned.subarray(words.length * 4)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Returns bytes whose period is not a power of two. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + (i >> 16)) & 255;
  return bytes;
}

/** Returns how many descriptors this process has. */
export const openDescriptors = (): number => sys.readdir("/proc/self/fd").length;

/** Runs the tests one after another; prints how much was checked as the last line, for the runner. */
export async function runAll(): Promise<void> {
  // The loop opens its descriptor in its first round; the tests must count after that.
  await sleep(0);
  for (const [name, body] of pending) {
    try {
      await body();
    } catch (error) {
      console.error(`FAILED ${name}`, error);
      sys.exit(1);
    }
  }
  console.log(`passed ${pending.length} tests, ${checks} checks`);
}
