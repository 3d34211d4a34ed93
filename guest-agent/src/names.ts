import { invalidArgument } from "../../src/core/errors.ts";

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/**
 * Throws InvalidArgument unless `id` can be a file name and a cgroup name: at most 128 letters, digits or
 * `_.-`.
 */
export function checkId(kind: "container" | "exec", id: string): void {
  if (!ID.test(id)) {
    throw invalidArgument(
      `${kind} id ${JSON.stringify(id.slice(0, 140))}: must be 1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit`,
    );
  }
}

/**
 * Throws InvalidArgument unless `path` is absolute, normalized (no `.`, `..`, `//`) and shorter than
 * PATH_MAX.
 */
export function checkPath(what: string, path: string): void {
  const normal = path.startsWith("/") && path.length < 4096 && !path.includes("\0");
  const parts = path.slice(1).split("/");
  if (!normal || (path !== "/" && parts.some((part) => part === "" || part === "." || part === ".."))) {
    throw invalidArgument(
      `${what} ${JSON.stringify(path.slice(0, 256))}: must be an absolute path without . and ..`,
    );
  }
}
