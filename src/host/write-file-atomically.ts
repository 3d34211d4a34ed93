import { rename, rm, writeFile } from "node:fs/promises";

/**
 * Creates or replaces a file (mode 0600), so that readers get either the old content or the new. It is
 * written to `temporary` first, which is removed on a failure.
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
