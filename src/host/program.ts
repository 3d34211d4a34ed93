import { access, constants } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { errnoOf, failedPrecondition } from "../core/errors.ts";

/** Folders outside the PATH where Debian's QEMU and virtiofsd packages put their helpers. */
const HELPER_FOLDERS = ["/usr/libexec", "/usr/lib/qemu"];

/**
 * The executable that a `program` key names: a path as it is; a bare name from the installation's libexec/, then
 * the PATH, then the folders of the distribution's helpers. FailedPrecondition tells where it was looked for.
 */
export async function findProgram(
  key: string,
  program: string,
  places: { readonly installation: string; readonly path: string | undefined },
): Promise<string> {
  if (isAbsolute(program)) {
    const problem = await whyNotExecutable(program);
    if (problem) throw failedPrecondition(`${key}: ${program} ${problem}`);
    return program;
  }
  const folders = [
    join(places.installation, "libexec"),
    ...(places.path ?? "").split(delimiter).filter((folder) => isAbsolute(folder)),
    ...HELPER_FOLDERS,
  ];
  for (const folder of folders) {
    const file = join(folder, program);
    if ((await whyNotExecutable(file)) === undefined) return file;
  }
  throw failedPrecondition(
    `${key}: program ${program} not found in ${folders.join(", ")}; install it, or set ${key} to its path`,
  );
}

async function whyNotExecutable(file: string): Promise<string | undefined> {
  try {
    await access(file, constants.X_OK);
    return undefined;
  } catch (thrown) {
    return errnoOf(thrown) === "ENOENT" ? "does not exist" : "cannot be executed";
  }
}
