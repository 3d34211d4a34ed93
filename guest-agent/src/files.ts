import { allowing, type Sys } from "./sys.ts";

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

/** Reads a text file of at most `limit` bytes. Throws what `sys.readFile` throws. */
export function readText(sys: Pick<Sys, "readFile">, path: string, limit = 1 << 20): string {
  return new TextDecoder().decode(sys.readFile(path, limit));
}

/** Removes a directory and everything in it; removes symlinks without following them. */
export function removeTree(sys: Sys, path: string): void {
  let names: string[] = [];
  allowing(["ENOENT"], () => {
    names = sys.readdir(path);
  });
  for (const name of names) {
    const child = `${path}/${name}`;
    if ((sys.lstat(child).mode & S_IFMT) === S_IFDIR) removeTree(sys, child);
    else allowing(["ENOENT"], () => sys.unlink(child));
  }
  allowing(["ENOENT"], () => sys.rmdir(path));
}
