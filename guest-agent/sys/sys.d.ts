/**
 * The system-call module of hull's QuickJS programs (the guest agent and the shim's `start`/`delete`
 * launcher), written in C in this directory. Thin: one function per system call, no policy. A function that
 * fails throws an Error with `code` ("ENOENT"), `errno` (2) and the message `syscall path: text`; reads and
 * writes that would block return -1 instead. All descriptors are opened close-on-exec. Unit tests in Node
 * pass a fake of this interface.
 */
declare module "sys" {
  // --- event loop: epoll, timers and signals, in C; promise jobs run after every callback
  /**
   * Calls `callback` while `fd` is readable or writable (level-triggered) or has hung up. One watch per
   * descriptor.
   */
  export function watch(
    fd: number,
    events: { read?: boolean; write?: boolean },
    callback: (ready: { read: boolean; write: boolean; hangup: boolean }) => void,
  ): void;
  export function unwatch(fd: number): void;
  export function setTimer(ms: number, callback: () => void): number;
  export function clearTimer(id: number): void;
  /** Blocks the signal and reports it through the loop. */
  export function onSignal(signal: number, callback: () => void): void;
  /** Runs until `stop()` or, with `untilIdle`, until no watch, timer, relay or pending job is left. */
  export function run(untilIdle?: boolean): void;
  export function stop(): void;
  /**
   * Sets the handler for uncaught errors of callbacks and promise jobs. Without one they are printed and the
   * process exits with 70.
   */
  export function onUncaught(callback: (error: unknown) => void): void;
  /** CLOCK_MONOTONIC in milliseconds, with a fraction. */
  export function monotonicMs(): number;

  // --- files
  /** `flags`: O_*, see below (O_CLOEXEC is always added). */
  export function open(path: string, flags: number, mode?: number): number;
  export function close(fd: number): void;
  export function read(fd: number, buffer: Uint8Array, offset: number, length: number): number;
  export function write(fd: number, buffer: Uint8Array, offset: number, length: number): number;
  /** Reads at most `limit` bytes (default 1 MiB); EFBIG for more. Works on procfs and cgroupfs. */
  export function readFile(path: string, limit?: number): Uint8Array;
  /** Writes the whole content with one write(2). Default flags O_WRONLY|O_CREAT|O_TRUNC, mode 0600. */
  export function writeFile(path: string, content: Uint8Array | string, flags?: number, mode?: number): void;
  export function mkdir(path: string, mode?: number): void;
  /** Like `mkdir -p`. */
  export function mkdirp(path: string, mode?: number): void;
  export function unlink(path: string): void;
  export function rmdir(path: string): void;
  export function rename(from: string, to: string): void;
  export function symlink(target: string, path: string): void;
  export function readlink(path: string): string;
  export function readdir(path: string): string[];
  export interface Stat {
    mode: number;
    uid: number;
    gid: number;
    size: number;
    dev: number;
    ino: number;
    rdev: number;
    mtimeMs: number;
  }
  export function stat(path: string): Stat;
  export function lstat(path: string): Stat;
  export function chmod(path: string, mode: number): void;
  export function chown(path: string, uid: number, gid: number): void;
  export function mknod(path: string, mode: number, major: number, minor: number): void;
  export function mkfifo(path: string, mode: number): void;
  export function mount(source: string, target: string, fstype: string, flags: number, data?: string): void;
  export function umount(target: string, flags?: number): void;
  export function unshare(flags: number): void;
  export function setns(fd: number, flags: number): void;
  export function chdir(path: string): void;
  export function chroot(path: string): void;
  export function getcwd(): string;
  export function umask(mask: number): number;
  export function sync(): void;
  export function syncfs(fd: number): void;
  export function ioctl(fd: number, request: number, argument: number): number;
  /**
   * Returns a non-blocking inotify descriptor that reports `mask` for `path` (for cgroup `memory.events`).
   */
  export function inotify(path: string, mask: number): number;

  // --- pipes, terminals and sockets, non-blocking
  export function pipe(): [read: number, write: number];
  /** Duplicates a descriptor (F_DUPFD_CLOEXEC): a pty master is part of two relays. */
  export function dup(fd: number): number;
  /** Returns a NETLINK_ROUTE socket for read and write; `groups`: a mask of RTMGRP_* to subscribe to. */
  export function netlinkRoute(groups?: number): number;
  /** Returns a socket that receives the kernel's uevents (devices added, removed or bound to a driver). */
  export function netlinkUevents(): number;
  export function setNonblock(fd: number, on: boolean): void;
  export function setCloexec(fd: number, on: boolean): void;
  export function setWindowSize(fd: number, columns: number, rows: number): void;
  export function unixListen(path: string, backlog: number, mode: number): number;
  /** Connects at once or throws: Unix sockets never return EINPROGRESS. */
  export function unixConnect(path: string): number;
  export function vsockListen(port: number, backlog: number): number;
  /** Starts to connect, or throws; `watch` for write reports completion, `socketError` the result. */
  export function vsockConnect(cid: number, port: number): number;
  /** Starts to connect to an IP address; `watch` for write reports completion, `socketError` the result. */
  export function tcpConnect(address: string, port: number): number;
  /** Returns a new connection, or -1 if there is none. */
  export function accept(fd: number): number;
  /**
   * Returns the context id of a vsock connection's peer. Throws EAFNOSUPPORT for other sockets, ENOTCONN if
   * it has closed.
   */
  export function peerCid(fd: number): number;
  export const SHUT_RD: 0, SHUT_WR: 1, SHUT_RDWR: 2;
  export function shutdown(fd: number, how: number): void;
  export function socketError(fd: number): number;
  /** Receives one message with one descriptor (SCM_RIGHTS); -1 if there is no message yet. */
  export function receiveFd(socket: number): number;
  /**
   * Moves bytes from `source` to `target` in C (with splice(2) if possible) until end of file, an error of
   * either side, or `stopRelay`. Closes neither. `done` gets the number of bytes and errno (0: end of file;
   * EIO of a pty master counts as end of file). After an error of the target, keeps draining the source if
   * `drain` is true.
   */
  export function relay(
    source: number,
    target: number,
    drain: boolean,
    done: (bytes: number, errno: number) => void,
  ): number;
  export function stopRelay(id: number): void;
  /**
   * Returns the bytes that a relay has moved, holds, or would find in its source now; -1 if it has ended.
   * Reads a terminal's buffer into memory for that, since the driver does not report its size.
   */
  export function relayTotal(id: number): number;
  /** Returns the bytes waiting in a pipe or socket (FIONREAD). */
  export function readable(fd: number): number;

  // --- processes
  export interface SpawnOptions {
    argv: string[];
    /** The complete environment, KEY=value. */
    env?: string[];
    cwd?: string;
    /** fds[i] becomes the child's descriptor i; -1: /dev/null. Default: [-1, -1, -1]. */
    fds?: number[];
    /** Start a new session. */
    setsid?: boolean;
    /** PR_SET_PDEATHSIG. */
    deathSignal?: number;
    /** Directory of the cgroup (v2) in which the child starts (CLONE_INTO_CGROUP of clone3(2)). */
    cgroup?: string;
  }
  /**
   * Starts `argv[0]` (searched in PATH of `env` unless it has a slash) and returns the PID. Throws if exec
   * fails.
   */
  export function spawn(options: SpawnOptions): number;
  /** Replaces this process. */
  export function exec(argv: string[], env?: string[]): never;
  export interface Ended {
    pid: number;
    code: number;
    signal: number;
  }
  /** Reaps one child (`pid` -1: any) that has exited; null if there is none, also for ECHILD. */
  export function waitpid(pid: number): Ended | null;
  export function kill(pid: number, signal: number): void;
  export function pidfdOpen(pid: number): number;
  /** Sets RLIMIT_NOFILE of this process. Children get the limit that it was started with. */
  export function raiseFileLimit(limit: number): void;
  export function getpid(): number;
  export function getppid(): number;
  export function exit(code: number): never;
  export function getenv(name: string): string | undefined;
  export function environ(): string[];
  export function argv(): string[];

  // --- machine
  /**
   * finit_module(2); EEXIST is not an error. Accepts .ko files and, if the kernel supports it, compressed
   * ones.
   */
  export function loadModule(path: string, parameters: string): void;
  export function setHostname(name: string): void;
  export function uname(): {
    sysname: string;
    nodename: string;
    release: string;
    version: string;
    machine: string;
  };
  export function setClock(unixNano: bigint): void;
  /**
   * Credits the bytes to the kernel's random number generator and reseeds it (RNDADDENTROPY, RNDRESEEDCRNG).
   */
  export function addEntropy(bytes: Uint8Array): void;
  /** getrandom(2). */
  export function random(length: number): Uint8Array;
  export function reboot(command: number): never;
  export const O_RDONLY: number,
    O_WRONLY: number,
    O_RDWR: number,
    O_CREAT: number,
    O_EXCL: number,
    O_TRUNC: number,
    O_APPEND: number,
    O_NONBLOCK: number,
    O_DIRECTORY: number,
    O_NOFOLLOW: number,
    O_PATH: number;
  export const MS_RDONLY: number,
    MS_NOSUID: number,
    MS_NODEV: number,
    MS_NOEXEC: number,
    MS_REMOUNT: number,
    MS_BIND: number,
    MS_MOVE: number,
    MS_REC: number,
    MS_PRIVATE: number,
    MS_SLAVE: number,
    MS_SHARED: number,
    MS_NOATIME: number;
  export const MNT_DETACH: number, UMOUNT_NOFOLLOW: number;
  export const CLONE_NEWNS: number,
    CLONE_NEWPID: number,
    CLONE_NEWNET: number,
    CLONE_NEWIPC: number,
    CLONE_NEWUTS: number;
  export const IN_MODIFY: number, IN_CREATE: number;
  export const REBOOT_POWER_OFF: number, REBOOT_RESTART: number;
}
