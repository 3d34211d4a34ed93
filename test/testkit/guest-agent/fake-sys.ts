import type { Sys } from "../../../guest-agent/src/sys.ts";
import { FakePipe, type OpenFile, openPair, openPipe, readable, release, writable } from "./fake-file.ts";
import { FakeTree } from "./fake-tree.ts";
import { sysError } from "./sys-error.ts";

type Spawn = Parameters<Sys["spawn"]>[0];
type Stat = ReturnType<Sys["stat"]>;
type Ended = NonNullable<ReturnType<Sys["waitpid"]>>;

export interface Child {
  pid: number;
  spawn: Spawn;
  /** The child's descriptors 0, 1, 2. */
  files: (OpenFile | undefined)[];
}

interface Watch {
  read: boolean;
  write: boolean;
  callback: (ready: { read: boolean; write: boolean; hangup: boolean }) => void;
}

interface Relay {
  id: number;
  source: OpenFile;
  target: OpenFile;
  drain: boolean;
  bytes: number;
  failed: boolean;
  done: (bytes: number, errno: number) => void;
}

const EPIPE = 32;

/** Calls that the fake lacks: no test in Node makes them, or the test defines them itself. */
type NotFaked =
  | ("run" | "stop" | "onUncaught" | "exec" | "exit" | "argv" | "environ" | "getenv" | "getpid" | "getppid")
  | ("pidfdOpen" | "raiseFileLimit" | "chdir" | "chroot" | "getcwd" | "umask" | "unshare" | "setns")
  | ("rename" | "readlink" | "chmod" | "chown" | "mknod" | "mkfifo" | "syncfs" | "ioctl" | "setCloexec")
  | ("unixConnect" | "vsockListen" | "vsockConnect" | "tcpConnect" | "netlinkUevents")
  | ("shutdown" | "socketError");

/**
 * A simulated kernel for the agent: files, pipes, sockets, processes, and a clock that only `advance` moves.
 */
export class FakeSys implements Omit<Sys, NotFaked> {
  readonly tree = new FakeTree(() => this.poke());
  readonly calls: string[] = [];
  /** The programs that can be spawned, by base name. */
  readonly programs = new Map<string, (child: Child) => void>();
  readonly relays: Relay[] = [];
  /** If set, accept fails with this error. */
  acceptFails: string | undefined;
  /** How often accept was called. */
  accepts = 0;
  onKill: (pid: number, signal: number) => void = () => undefined;
  #files = new Map<number, OpenFile>();
  #watches = new Map<number, Watch>();
  #timers = new Map<number, { at: number; callback: () => void }>();
  #signals = new Map<number, () => void>();
  #ended: Ended[] = [];
  #living = new Set<number>();
  #listeners = new Map<string, OpenFile>();
  #now = 1000;
  #nextFd = 3;
  #nextPid = 100;
  #nextId = 1;
  #scheduled = false;

  /** The module `sys` for the agent. */
  get sys(): Sys {
    return this as Omit<Sys, NotFaked> as Sys;
  }

  // --- for tests

  /** The number of open descriptors, for leak checks. */
  get openFds(): number {
    return this.#files.size;
  }
  get watchCount(): number {
    return this.#watches.size;
  }
  get timerCount(): number {
    return this.#timers.size;
  }

  /** Lets `ms` pass and fires due timers in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(([, timer]) => timer.at <= end)
        .sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due[1].at);
      this.#timers.delete(due[0]);
      due[1].callback();
    }
    this.#now = end;
  }

  /** Runs the loop until nothing is ready and no promise job is left. Timers of 0 ms fire. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; ) {
      this.advance(0);
      idle = this.turn() ? 0 : idle + 1;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  newPid(): number {
    const pid = this.#nextPid++;
    this.#living.add(pid);
    return pid;
  }

  /** Makes a process exit; it remains to be reaped. */
  end(pid: number, code: number, signal = 0): void {
    if (!this.#living.delete(pid)) return;
    this.#ended.push({ pid, code, signal });
    setImmediate(() => this.#signals.get(17)?.());
  }

  isAlive(pid: number): boolean {
    return this.#living.has(pid);
  }

  /**
   * Connects to a listening descriptor or Unix path, by default as the host (`cid`). Returns the caller's
   * end.
   */
  dial(to: number | string, cid = 2): OpenFile {
    const listener = typeof to === "number" ? this.#file(to) : this.#listeners.get(to);
    if (!listener) throw sysError("ECONNREFUSED", `connect ${to}`);
    const [client, server] = openPair("socket");
    server.peerCid = cid;
    listener.backlog?.push(server);
    this.poke();
    return client;
  }

  /** Returns the agent's ends of connections to a Unix path that it has not accepted yet. */
  backlogOf(path: string): OpenFile[] {
    return this.#listeners.get(path)?.backlog ?? [];
  }

  /** Reads everything that has arrived at the caller's end of a connection. */
  received(file: OpenFile): Uint8Array {
    const bytes = file.input?.take(Number.MAX_SAFE_INTEGER) ?? new Uint8Array();
    this.poke();
    return bytes;
  }

  send(file: OpenFile, data: Uint8Array | string): void {
    file.output?.put(typeof data === "string" ? new TextEncoder().encode(data) : data);
    this.poke();
  }

  hangUp(file: OpenFile): void {
    release(file);
    this.poke();
  }

  /** Returns a listening descriptor without an address. */
  listen(): number {
    return this.#add({ kind: "listener", references: 1, backlog: [] });
  }

  terminalPair(): [master: OpenFile, slave: OpenFile] {
    return openPair("terminal");
  }

  /** Schedules a turn of the loop. */
  poke(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.turn()) this.poke();
    });
  }

  /** Runs one turn of the loop. Returns whether anything was ready. */
  turn(): boolean {
    let worked = false;
    for (const relay of [...this.relays]) if (this.#pump(relay)) worked = true;
    for (const path of this.tree.takeModified()) {
      for (const file of this.#files.values()) {
        if (file.kind === "inotify" && file.path === path) file.events = (file.events ?? 0) + 1;
      }
    }
    for (const [fd, watch] of [...this.#watches]) {
      const file = this.#files.get(fd);
      if (!file || this.#watches.get(fd) !== watch) continue;
      const ready = { read: readable(file), write: writable(file), hangup: file.output?.readers === 0 };
      if ((watch.read && ready.read) || (watch.write && ready.write)) {
        worked = true;
        watch.callback(ready);
      }
    }
    return worked;
  }

  // --- the loop

  watch(fd: number, events: { read?: boolean; write?: boolean }, callback: Watch["callback"]): void {
    this.#file(fd);
    if (this.#watches.has(fd)) throw sysError("EEXIST", `watch ${fd}`);
    this.#watches.set(fd, { read: events.read ?? false, write: events.write ?? false, callback });
    this.poke();
  }
  unwatch(fd: number): void {
    this.#watches.delete(fd);
  }
  setTimer(ms: number, callback: () => void): number {
    const id = this.#nextId++;
    this.#timers.set(id, { at: this.#now + ms, callback });
    return id;
  }
  clearTimer(id: number): void {
    this.#timers.delete(id);
  }
  onSignal(signal: number, callback: () => void): void {
    this.#signals.set(signal, callback);
  }
  monotonicMs(): number {
    return this.#now;
  }

  // --- descriptors

  close(fd: number): void {
    const file = this.#file(fd);
    this.#files.delete(fd);
    this.#watches.delete(fd);
    release(file);
    this.poke();
  }
  dup(fd: number): number {
    const file = this.#file(fd);
    file.references++;
    return this.#add(file);
  }
  pipe(): [number, number] {
    const pipe = new FakePipe();
    return [this.#add(openPipe(pipe, "read")), this.#add(openPipe(pipe, "write"))];
  }
  read(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    const file = this.#file(fd);
    if (file.kind === "inotify") {
      const got = file.events ? 16 : -1;
      file.events = 0;
      return got;
    }
    const input = file.input;
    if (!input) throw sysError("EBADF", `read ${fd}`);
    if (input.length === 0) return input.writers === 0 ? 0 : -1;
    const bytes = input.take(length);
    buffer.set(bytes, offset);
    this.poke();
    return bytes.length;
  }
  write(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    const file = this.#file(fd);
    const bytes = buffer.slice(offset, offset + length);
    if (file.onWrite) {
      file.onWrite(bytes);
      return length;
    }
    if (!file.output) throw sysError("EBADF", `write ${fd}`);
    if (file.output.readers === 0) throw sysError("EPIPE", `write ${fd}`);
    const put = file.output.put(bytes);
    this.poke();
    return put === 0 && length > 0 ? -1 : put;
  }
  readable(fd: number): number {
    return this.#file(fd).input?.length ?? 0;
  }
  setNonblock(fd: number): void {
    this.#file(fd);
  }
  setWindowSize(fd: number, columns: number, rows: number): void {
    this.#file(fd);
    this.calls.push(`setWindowSize ${columns}x${rows}`);
  }
  accept(fd: number): number {
    this.accepts++;
    if (this.acceptFails !== undefined) throw sysError(this.acceptFails, `accept ${fd}`);
    const connection = this.#file(fd).backlog?.shift();
    return connection ? this.#add(connection) : -1;
  }
  peerCid(fd: number): number {
    const file = this.#file(fd);
    if (file.peerCid === undefined) throw sysError("EAFNOSUPPORT", `getpeername ${fd}`);
    if (file.input?.writers === 0) throw sysError("ENOTCONN", `getpeername ${fd}`);
    return file.peerCid;
  }
  unixListen(path: string): number {
    const fd = this.listen();
    this.#listeners.set(path, this.#file(fd));
    this.tree.write(path, "");
    return fd;
  }
  receiveFd(fd: number): number {
    const file = this.#file(fd);
    const passed = file.passed?.shift();
    if (passed) return this.#add(passed);
    if (file.input?.writers === 0) throw sysError("ECONNRESET", "recvmsg");
    return -1;
  }
  inotify(path: string): number {
    this.tree.mode(path); // throws if it does not exist
    return this.#add({ kind: "inotify", references: 1, path, events: 0 });
  }

  // --- relays

  relay(source: number, target: number, drain: boolean, done: Relay["done"]): number {
    const from = this.#file(source);
    const to = this.#file(target);
    from.references++;
    to.references++;
    const id = this.#nextId++;
    this.relays.push({ id, source: from, target: to, drain, bytes: 0, failed: false, done });
    this.poke();
    return id;
  }
  stopRelay(id: number): void {
    const relay = this.relays.find((each) => each.id === id);
    if (relay) this.#dropRelay(relay);
  }
  relayTotal(id: number): number {
    const relay = this.relays.find((each) => each.id === id);
    return relay ? relay.bytes + (relay.source.input?.length ?? 0) : -1;
  }

  // --- files

  /** Device nodes that cannot be opened yet. */
  readonly unborn = new Set<string>();

  open(path: string, flags: number): number {
    if (path === "/dev/null") return this.#add({ kind: "file", references: 1, output: new DevNull() });
    if (this.tree.fifo(path) && flags & this.O_WRONLY) {
      const fifo = this.tree.fifo(path);
      if (!fifo?.reader) throw sysError("ENXIO", `open ${path}`);
      return this.#add({ kind: "file", references: 1, onWrite: fifo.reader });
    }
    if (this.unborn.has(path)) throw sysError("ENXIO", `open ${path}`);
    this.tree.read(path);
    return this.#add({ kind: "file", references: 1 });
  }
  readFile(path: string, limit = 1 << 20): Uint8Array {
    const content = this.tree.read(path);
    if (content.length > limit) throw sysError("EFBIG", `read ${path}`);
    return content;
  }
  writeFile(path: string, content: Uint8Array | string, flags = this.O_CREAT): void {
    if (!(flags & this.O_CREAT)) this.tree.read(path);
    this.tree.write(path, content);
  }
  mkdir(path: string): void {
    this.tree.mkdir(path);
  }
  mkdirp(path: string): void {
    this.tree.mkdirp(path);
  }
  unlink(path: string): void {
    this.tree.unlink(path);
    this.#listeners.delete(path);
  }
  rmdir(path: string): void {
    this.tree.rmdir(path);
  }
  readdir(path: string): string[] {
    return this.tree.readdir(path);
  }
  stat(path: string): Stat {
    const mode = this.tree.mode(path);
    const size = (mode & 0o170000) === 0o100000 ? this.tree.read(path).length : 0;
    return { mode, size, uid: 0, gid: 0, dev: 1, ino: 1, rdev: 0, mtimeMs: 0 };
  }
  lstat(path: string): Stat {
    return this.stat(path);
  }
  symlink(target: string, path: string): void {
    this.tree.write(path, target);
  }
  mount(source: string, target: string, type: string, flags: number, data = ""): void {
    this.calls.push(`mount ${source} ${target} ${type} ${flags} ${data}`);
  }
  umount(target: string): void {
    this.calls.push(`umount ${target}`);
  }

  // --- processes

  spawn(options: Spawn): number {
    const name = options.argv[0]?.split("/").at(-1) ?? "";
    const program = this.programs.get(name);
    if (!program) throw sysError("ENOENT", `exec ${options.argv[0]}`);
    const files = (options.fds ?? [-1, -1, -1]).map((fd) => {
      if (fd < 0) return undefined;
      const file = this.#file(fd);
      file.references++;
      return file;
    });
    const pid = this.newPid();
    setImmediate(() => program({ pid, spawn: options, files }));
    return pid;
  }
  waitpid(): Ended | null {
    return this.#ended.shift() ?? null;
  }
  kill(pid: number, signal: number): void {
    if (!this.#living.has(pid)) throw sysError("ESRCH", `kill ${pid}`);
    this.calls.push(`kill ${pid} ${signal}`);
    this.onKill(pid, signal);
  }

  // --- machine

  loadModule(path: string): void {
    this.calls.push(`loadModule ${path}`);
  }
  setHostname(name: string): void {
    this.calls.push(`setHostname ${name}`);
  }
  setClock(time: bigint): void {
    this.calls.push(`setClock ${time}`);
  }
  addEntropy(bytes: Uint8Array): void {
    this.calls.push(`addEntropy ${bytes.length}`);
  }
  random(length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, index) => index);
  }
  uname(): ReturnType<Sys["uname"]> {
    return { sysname: "Linux", nodename: "", release: "6.1.0-fake", version: "#1", machine: "x86_64" };
  }
  sync(): void {
    this.calls.push("sync");
  }
  /** Unlike the kernel's, it returns, so that the test continues. */
  reboot(command: number): never {
    this.calls.push(`reboot ${command}`);
    return undefined as never;
  }
  /** Returns a route socket that acknowledges every request. */
  netlinkRoute(): number {
    const input = new FakePipe();
    input.writers = 1;
    const onWrite = (request: Uint8Array): void => {
      this.calls.push(`netlink ${new DataView(request.buffer).getUint16(4, true)}`);
      const ack = new Uint8Array(36);
      new DataView(ack.buffer).setUint16(4, 2, true);
      ack.set(request.subarray(8, 12), 8);
      input.put(ack);
    };
    return this.#add({ kind: "file", references: 1, input, onWrite });
  }

  readonly O_RDONLY = 0;
  readonly O_WRONLY = 1;
  readonly O_RDWR = 2;
  readonly O_CREAT = 0o100;
  readonly O_EXCL = 0o200;
  readonly O_TRUNC = 0o1000;
  readonly O_APPEND = 0o2000;
  readonly O_NONBLOCK = 0o4000;
  readonly O_DIRECTORY = 0o200000;
  readonly O_NOFOLLOW = 0o400000;
  readonly O_PATH = 0o10000000;
  readonly MS_RDONLY = 1;
  readonly MS_NOSUID = 2;
  readonly MS_NODEV = 4;
  readonly MS_NOEXEC = 8;
  readonly MS_REMOUNT = 32;
  readonly MS_NOATIME = 1024;
  readonly MS_BIND = 4096;
  readonly MS_MOVE = 8192;
  readonly MS_REC = 16384;
  readonly MS_PRIVATE = 1 << 18;
  readonly MS_SLAVE = 1 << 19;
  readonly MS_SHARED = 1 << 20;
  readonly MNT_DETACH = 2;
  readonly UMOUNT_NOFOLLOW = 8;
  readonly CLONE_NEWNS = 0x20000;
  readonly CLONE_NEWUTS = 0x4000000;
  readonly CLONE_NEWIPC = 0x8000000;
  readonly CLONE_NEWPID = 0x20000000;
  readonly CLONE_NEWNET = 0x40000000;
  readonly SHUT_RD = 0;
  readonly SHUT_WR = 1;
  readonly SHUT_RDWR = 2;
  readonly IN_MODIFY = 2;
  readonly IN_CREATE = 256;
  readonly REBOOT_POWER_OFF = 0x4321fedc;
  readonly REBOOT_RESTART = 0x1234567;

  #file(fd: number): OpenFile {
    const file = this.#files.get(fd);
    if (!file) throw sysError("EBADF", `descriptor ${fd}`);
    return file;
  }

  #add(file: OpenFile): number {
    const fd = this.#nextFd++;
    this.#files.set(fd, file);
    return fd;
  }

  #dropRelay(relay: Relay): void {
    this.relays.splice(this.relays.indexOf(relay), 1);
    release(relay.source);
    release(relay.target);
  }

  #pump(relay: Relay): boolean {
    const { source, target } = relay;
    const input = source.input;
    const output = target.output;
    if (!input || !output) throw new Error("relay between descriptors that do not stream");
    if (output.readers === 0 && !relay.failed) {
      if (!relay.drain) return this.#endRelay(relay, EPIPE);
      relay.failed = true;
    }
    if (input.length === 0) return input.writers === 0 && this.#endRelay(relay, relay.failed ? EPIPE : 0);
    if (relay.failed) return input.take(65_536).length > 0;
    const free = output.capacity - output.length;
    if (free === 0) return false;
    relay.bytes += output.put(input.take(free));
    return true;
  }

  #endRelay(relay: Relay, errno: number): true {
    this.#dropRelay(relay);
    relay.done(relay.bytes, errno);
    return true;
  }
}

class DevNull extends FakePipe {
  constructor() {
    super(Number.MAX_SAFE_INTEGER);
    this.readers = 1;
  }
  override put(bytes: Uint8Array): number {
    return bytes.length;
  }
}
