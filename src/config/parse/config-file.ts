import { constants, open } from "node:fs/promises";
import { errnoOf, ignoring } from "../../core/errors.ts";
import { ConfigError } from "../schema/problem.ts";

/** The maximum size of a configuration. */
export const MAX_BYTES = 64 * 1024;

const WRITABLE_BY_OTHERS = 0o022;

/**
 * Reads a configuration file; undefined if it does not exist. The file decides what runs as root, so it must be a
 * regular file that only root, or the user that hull runs as, can change. Throws ConfigError.
 */
export async function readConfigFile(file: string): Promise<string | undefined> {
  const refuse = (rule: string, advice?: string) => new ConfigError([{ source: file, rule, advice }]);
  // Without O_NONBLOCK the open of a FIFO would wait for its writer.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    .catch(ignoring("ENOENT", "ENOTDIR"))
    .catch((thrown: unknown) => {
      const rule = `cannot be read: ${errnoOf(thrown) ?? thrown}`;
      throw refuse(rule, "check its permissions and those of its directories");
    });
  if (!handle) return undefined;
  try {
    const status = await handle.stat();
    const { mode, uid, size } = status;
    if (!status.isFile()) throw refuse("is not a regular file");
    if (mode & WRITABLE_BY_OTHERS) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw refuse(`is writable by users other than its owner (mode ${octal})`, `run "chmod go-w ${file}"`);
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
