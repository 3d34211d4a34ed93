import { sysError } from "./sys-error.ts";

type Node =
  | { type: "directory" }
  | { type: "file"; content: Uint8Array; onWrite?: (text: string) => void }
  | { type: "fifo"; reader: ((bytes: Uint8Array) => void) | undefined };

/** A file system in memory: absolute paths, no symlinks. Writes can have effects, as in cgroupfs. */
export class FakeTree {
  readonly #nodes = new Map<string, Node>([["/", { type: "directory" }]]);
  readonly #modified = new Set<string>();
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  has(path: string): boolean {
    return this.#nodes.has(path);
  }

  read(path: string): Uint8Array {
    const node = this.#node(path);
    if (node.type !== "file") throw sysError("EISDIR", `read ${path}`);
    return node.content;
  }

  text(path: string): string {
    return new TextDecoder().decode(this.read(path));
  }

  /** Writes a file, creating it if necessary; its directory must exist. */
  write(path: string, content: Uint8Array | string): void {
    this.#parent(path);
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const old = this.#nodes.get(path);
    const onWrite = old?.type === "file" ? old.onWrite : undefined;
    this.#nodes.set(path, { type: "file", content: bytes, ...(onWrite ? { onWrite } : {}) });
    this.#modified.add(path);
    onWrite?.(new TextDecoder().decode(bytes));
    this.#changed();
  }

  /** Calls `effect` with what is later written to an existing file. */
  onWrite(path: string, effect: (text: string) => void): void {
    const node = this.#node(path);
    if (node.type !== "file") throw sysError("EISDIR", path);
    node.onWrite = effect;
  }

  mkfifo(path: string, reader: ((bytes: Uint8Array) => void) | undefined): void {
    this.#parent(path);
    this.#nodes.set(path, { type: "fifo", reader });
  }

  fifo(path: string): { reader: ((bytes: Uint8Array) => void) | undefined } | undefined {
    const node = this.#nodes.get(path);
    return node?.type === "fifo" ? node : undefined;
  }

  mkdir(path: string): void {
    if (this.#nodes.has(path)) throw sysError("EEXIST", `mkdir ${path}`);
    this.#parent(path);
    this.#nodes.set(path, { type: "directory" });
  }

  mkdirp(path: string): void {
    let directory = "";
    for (const part of path.split("/").slice(1)) {
      directory += `/${part}`;
      if (!this.#nodes.has(directory)) this.#nodes.set(directory, { type: "directory" });
    }
  }

  unlink(path: string): void {
    if (this.#node(path).type === "directory") throw sysError("EISDIR", `unlink ${path}`);
    this.#nodes.delete(path);
  }

  /** Removes a directory with its files, as in cgroupfs. */
  rmdir(path: string): void {
    if (this.#node(path).type !== "directory") throw sysError("ENOTDIR", `rmdir ${path}`);
    const inside = [...this.#nodes.keys()].filter((each) => each.startsWith(`${path}/`));
    const isCgroup = path.startsWith("/sys/fs/cgroup/");
    if (inside.length > 0 && !isCgroup) throw sysError("ENOTEMPTY", `rmdir ${path}`);
    if (isCgroup && this.has(`${path}/cgroup.procs`) && this.text(`${path}/cgroup.procs`) !== "") {
      throw sysError("EBUSY", `rmdir ${path}`);
    }
    for (const each of [...inside, path]) this.#nodes.delete(each);
  }

  readdir(path: string): string[] {
    if (this.#node(path).type !== "directory") throw sysError("ENOTDIR", `readdir ${path}`);
    const prefix = path === "/" ? "/" : `${path}/`;
    const names = [...this.#nodes.keys()].filter((each) => each !== "/" && each.startsWith(prefix));
    return names.map((each) => each.slice(prefix.length)).filter((name) => !name.includes("/"));
  }

  mode(path: string): number {
    const type = this.#node(path).type;
    return type === "directory" ? 0o040755 : type === "fifo" ? 0o010600 : 0o100600;
  }

  /** Returns the files written since the last call. */
  takeModified(): string[] {
    const paths = [...this.#modified];
    this.#modified.clear();
    return paths;
  }

  #node(path: string): Node {
    const node = this.#nodes.get(path);
    if (!node) throw sysError("ENOENT", path);
    return node;
  }

  #parent(path: string): void {
    const directory = path.slice(0, path.lastIndexOf("/")) || "/";
    if (this.#nodes.get(directory)?.type !== "directory") throw sysError("ENOENT", path);
  }
}
