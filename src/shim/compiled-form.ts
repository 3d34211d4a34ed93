import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * V8's compiled form of the daemon's bundle. The build's has the functions that run while the modules are loaded. The first
 * shim that has run a container keeps one that also has the functions that a pod's start needs, and later shims start from
 * that: compiling them takes longer than everything else that hull's own code does in a start.
 */
export interface CompiledForm {
  /** Where it is kept. */
  readonly path: string;
  /** The compiled form with all functions that are compiled now. V8 must still have the flags that it started with. */
  data(): Buffer;
}

/** Like the rest of /run, this is empty after a reboot. A containerd namespace never begins with a dot. */
const DIRECTORY = "/run/hull/.code";
/** With this many forms, of as many builds, the directory is emptied. */
const KEPT = 4;

/** A parameter of the bundle's wrapper (src/bin/shim.ts): undefined if the running shim has started from a kept form. */
declare const compiledForm: CompiledForm | undefined;

/** Returns the path of a bundle's kept form. V8 itself compares only the text's length with that of the form's. */
export function keptFormPath(bundle: string, directory = DIRECTORY): string {
  const { dev, ino, mtimeMs, size } = statSync(bundle);
  return join(directory, `${dev}-${ino}-${mtimeMs}-${size}`);
}

/**
 * Returns a kept form; undefined if there is none, or if other users could have written it: a form is code
 * that every shim runs.
 */
export function readKeptForm(path: string): Buffer | undefined {
  try {
    const { uid, mode } = statSync(dirname(path));
    return uid === process.geteuid?.() && (mode & 0o077) === 0 ? readFileSync(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the compiled form for later shims, unless one is kept. Never throws: the file system may be full. */
export function keepCompiledForm(
  form = typeof compiledForm === "undefined" ? undefined : compiledForm,
): void {
  if (!form) return;
  const directory = dirname(form.path);
  const temporary = join(directory, `.${process.pid}`); // another shim may keep it, too
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const names = readdirSync(directory);
    if (names.length >= KEPT) for (const name of names) rmSync(join(directory, name), { force: true });
    writeFileSync(temporary, form.data(), { mode: 0o600 });
    renameSync(temporary, form.path);
  } catch {
    rmSync(temporary, { force: true }); // the next shim tries again
  }
}
