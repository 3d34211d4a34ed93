import { constants, type FileHandle, open } from "node:fs/promises";
import { errnoOf } from "../../core/errors.ts";
import { ConfigError } from "../schema/problem.ts";

/** A configuration larger than this is none. */
export const MAX_BYTES = 64 * 1024;

const WRITABLE_BY_OTHERS = 0o022;

/**
 * The text of a configuration file. The file decides what runs as root, so it must be a regular file that only
 * root, or the user hull runs as, can change. Missing: undefined. Everything else that is wrong: ConfigError.
 */
export async function readConfigFile(file: string): Promise<string | undefined> {
  const refuse = (rule: string, advice?: string) => new ConfigError([{ source: file, rule, advice }]);
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK the open of a FIFO would wait for its writer.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    const code = errnoOf(thrown) ?? String(thrown);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw refuse(`cannot be read: ${code}`, "check its permissions and those of its directories");
  }
  try {
    const status = await handle.stat();
    const { mode, uid, size } = status;
    if (!status.isFile()) throw refuse("is not a regular file");
    if (mode & WRITABLE_BY_OTHERS) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw refuse(`is writable by others than its owner (mode ${octal})`, `run "chmod go-w ${file}"`);
    }
    if (uid !== 0 && uid !== process.geteuid?.()) {
      throw refuse(`belongs to user ${uid}, which is not trusted`, `run "chown root ${file}"`);
    }
    if (size > MAX_BYTES) throw refuse(`is larger than ${MAX_BYTES} bytes`);
    const bytes = Buffer.alloc(size);
    const { bytesRead } = await handle.read(bytes, 0, size, 0);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, bytesRead));
    } catch {
      throw refuse("is not UTF-8 text");
    }
  } finally {
    await handle.close();
  }
}
