import { rename, rm, writeFile } from "node:fs/promises";

/**
 * Makes or replaces a file, for its owner alone: whoever reads it gets all of the old content or all of the new. It is written
 * at `temporary` first, of which nothing is left on a failure.
 */
export async function writeFileAtomically(
  path: string,
  content: string,
  temporary = `${path}.new`,
): Promise<void> {
  try {
    await writeFile(temporary, content, { mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}
