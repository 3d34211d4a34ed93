/**
 * The system-call module of hull's QuickJS programs (the guest agent and the shim's `start`/`delete` launcher),
 * written in C in this folder. Thin: one function a system call, no policy. Every function that fails throws an
 * Error with `code` ("ENOENT"), `errno` (2) and a message `syscall path: text`; reads and writes on non-blocking
 * descriptors that would block return -1 instead. All descriptors are opened close-on-exec.
 * Unit tests in Node pass a fake of this interface.
 */
declare module "sys" {
  // --- event loop: epoll, timers and signals, owned by C; promise jobs run after every callback -------------
  /** Calls `callback` when `fd` is readable and/or writable (level-triggered) or has hung up. One watch per fd. */
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
  /** Runs until `stop()` or, when `untilIdle`, until no watch, timer, relay or pending job is left. */
  export function run(untilIdle?: boolean): void;
  export function stop(): void;
  /** Called with what a callback or promise job threw and nobody caught; without one it is printed and the process exits with 70. */
  export function onUncaught(callback: (error: unknown) => void): void;
  /** CLOCK_MONOTONIC in milliseconds, with fraction. */
  export function monotonicMs(): number;

  // --- files -------------------------------------------------------------------------------------------------
  /** `flags`: the O_* bits below (O_CLOEXEC is always added). */
  export function open(path: string, flags: number, mode?: number): number;
  export function close(fd: number): void;
  export function read(fd: number, buffer: Uint8Array, offset: number, length: number): number;
  export function write(fd: number, buffer: Uint8Array, offset: number, length: number): number;
  /** At most `limit` bytes (default 1 MiB); more is EFBIG. Works on procfs and cgroupfs. */
  export function readFile(path: string, limit?: number): Uint8Array;
  /** One write(2) of the whole content. Default flags O_WRONLY|O_CREAT|O_TRUNC, mode 0600. */
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
  /** A non-blocking inotify descriptor that reports `mask` for `path` (for cgroup `memory.events`). */
  export function inotify(path: string, mask: number): number;

  // --- pipes, terminals and sockets: non-blocking ------------------------------------------------------------
  export function pipe(): [read: number, write: number];
  /** A second descriptor of the same open file (F_DUPFD_CLOEXEC): a pty master takes part in two relays. */
  export function dup(fd: number): number;
  /** A non-blocking AF_NETLINK NETLINK_ROUTE socket, used with read and write; `groups`: a mask of RTMGRP_* to hear. */
  export function netlinkRoute(groups?: number): number;
  /** A non-blocking socket that hears the kernel's uevents (devices that come, go and get drivers). */
  export function netlinkUevents(): number;
  export function setNonblock(fd: number, on: boolean): void;
  export function setCloexec(fd: number, on: boolean): void;
  export function setWindowSize(fd: number, columns: number, rows: number): void;
  export function unixListen(path: string, backlog: number, mode: number): number;
  /** Connects at once or throws; for local sockets that answer immediately or not at all. */
  export function unixConnect(path: string): number;
  export function vsockListen(port: number, backlog: number): number;
  /** Blocking-free connect; throws when it can't be started, `watch` for write tells when it is done. */
  export function vsockConnect(cid: number, port: number): number;
  /** Starts to connect to an IP address; `watch` for write tells when it is done, `socketError` how. */
  export function tcpConnect(address: string, port: number): number;
  /** A new connection, or -1 when there is none. */
  export function accept(fd: number): number;
  /** The context id of a vsock connection's peer. Throws EAFNOSUPPORT for other sockets, ENOTCONN when it has gone. */
  export function peerCid(fd: number): number;
  export const SHUT_RD: 0, SHUT_WR: 1, SHUT_RDWR: 2;
  export function shutdown(fd: number, how: number): void;
  export function socketError(fd: number): number;
  /** Receives one message with one descriptor (SCM_RIGHTS), -1 when none is there yet. */
  export function receiveFd(socket: number): number;
  /**
   * Moves bytes from `source` to `target` inside C (splice(2) where it can) until end of file, an error of either
   * side, or `stopRelay`. Does not close either end. `done` gets the number of bytes and errno (0 = end of file;
   * EIO of a pty master counts as end of file). After an error of the target the source goes on being drained when
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
   * Bytes that a relay has moved, holds, or will find waiting in its source now; -1 when it has ended. What a terminal
   * holds is taken into memory for that: its driver does not tell.
   */
  export function relayTotal(id: number): number;
  /** Bytes waiting in a pipe or socket (FIONREAD). */
  export function readable(fd: number): number;

  // --- processes ---------------------------------------------------------------------------------------------
  export interface SpawnOptions {
    argv: string[];
    /** Complete environment, KEY=value. */
    env?: string[];
    cwd?: string;
    /** fds[i] becomes the child's descriptor i; -1 = /dev/null. Default: [-1, -1, -1]. */
    fds?: number[];
    /** New session. */
    setsid?: boolean;
    /** PR_SET_PDEATHSIG. */
    deathSignal?: number;
    /** cgroup v2 folder the child starts in (clone3 CLONE_INTO_CGROUP, else cgroup.procs before exec). */
    cgroup?: string;
  }
  /** Starts `argv[0]` (searched in PATH of `env` when it has no slash). A failing exec throws here. */
  export function spawn(options: SpawnOptions): number;
  /** Replaces this process. */
  export function exec(argv: string[], env?: string[]): never;
  export interface Ended {
    pid: number;
    code: number;
    signal: number;
  }
  /** One ended child (`pid` -1 = any), or null when none has ended. ECHILD gives null too. */
  export function waitpid(pid: number): Ended | null;
  export function kill(pid: number, signal: number): void;
  export function pidfdOpen(pid: number): number;
  /** Lets this process have `limit` descriptors. Children get the limit that it was started with. */
  export function raiseFileLimit(limit: number): void;
  export function getpid(): number;
  export function getppid(): number;
  export function exit(code: number): never;
  export function getenv(name: string): string | undefined;
  export function environ(): string[];
  export function argv(): string[];

  // --- machine -----------------------------------------------------------------------------------------------
  /** finit_module(2); EEXIST is not an error. Accepts .ko and, where the kernel can, compressed modules. */
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
  /** Credits the bytes to the kernel's generator and reseeds it (RNDADDENTROPY, RNDRESEEDCRNG). */
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
