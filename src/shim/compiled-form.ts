import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/**
 * V8's compiled form of the daemon's bundle. The build's has the functions that run while the modules are loaded. The first
 * shim that has run a container keeps one that also has the functions that a pod's start needs, and later shims start from
 * that (docs/adr/0009-commonjs-bundles.md has what it saves).
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

/**
 * Returns the path of a bundle's kept form. V8 compares only the text's length and its own version, which Node's minor releases
 * share. The time is that of the inode, which packages cannot set.
 */
export function keptFormPath(bundle: string, directory = DIRECTORY): string {
  const { dev, ino, ctimeMs, size } = statSync(bundle);
  return join(directory, `${process.version}-${dev}-${ino}-${ctimeMs}-${size}`);
}

/**
 * Returns a kept form; undefined if there is none, or if other users could have written it: a form is code
 * that every shim runs.
 */
export function readKeptForm(path: string): Buffer | undefined {
  try {
    return isPrivate(dirname(path)) ? readFileSync(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the compiled form for later shims, unless one is kept. Never throws: the file system may be full. */
export function keepCompiledForm(
  form = typeof compiledForm === "undefined" ? undefined : compiledForm,
): void {
  try {
    if (form) keep(form);
  } catch {
    // The next shim tries again.
  }
}

function keep({ path, data }: CompiledForm): void {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!isPrivate(directory)) return;
  const names = readdirSync(directory);
  if (names.length >= KEPT) for (const name of names) rmSync(join(directory, name), { force: true });
  const temporary = join(directory, `.${process.pid}`); // another shim may keep it, too
  try {
    // Flushed, as /run may be a disk: V8 does not notice that a part is missing, and every shim would crash.
    writeFileSync(temporary, data(), { mode: 0o600, flush: true });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Whether this is a directory, no symlink, that only this user may enter. */
function isPrivate(directory: string): boolean {
  const { uid, mode } = lstatSync(directory);
  return uid === process.geteuid?.() && (mode & 0o077) === 0;
}
