import { access, constants } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { errnoOf, failedPrecondition } from "../core/errors.ts";

/** Directories outside the PATH that Debian's QEMU and virtiofsd packages install helpers in. */
const HELPER_DIRECTORIES = ["/usr/libexec", "/usr/lib/qemu"];

/**
 * Returns a `program` key's executable: an absolute path as it is, a name from libexec/, the PATH, or the
 * distribution's helpers. Throws FailedPrecondition with the directories that were searched.
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
  const directories = [
    join(places.installation, "libexec"),
    ...(places.path ?? "").split(delimiter).filter((directory) => isAbsolute(directory)),
    ...HELPER_DIRECTORIES,
  ];
  for (const directory of directories) {
    const file = join(directory, program);
    if ((await whyNotExecutable(file)) === undefined) return file;
  }
  throw failedPrecondition(
    `${key}: program ${program} not found in ${directories.join(", ")}; ` +
      `install it, or set ${key} to its path`,
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
