import type { Exit, Reaper } from "../loop/reaper.ts";
import { within } from "../loop/timeout.ts";
import { ConsoleSocket } from "../stdio/console-socket.ts";
import { closeChildEnds, closeEndpoints, openPipes, terminalEndpoints } from "../stdio/endpoints.ts";
import type { GuestIo } from "../stdio/guest-io.ts";
import { allowing, SIGKILL, type Sys } from "../sys.ts";

const TERMINAL_TIMEOUT_MS = 10_000;

interface LaunchResources {
  sys: Sys;
  reaper: Reaper;
  /** Returns an unused path for a console socket. */
  consolePath: () => string;
}

/**
 * Gives a process its streams, starts it with `start` (a crun command that resolves with the PID) and reports
 * its exit to `onExit`. On failure closes everything it has opened; `io` remains the caller's.
 */
export async function launch(
  { sys, reaper, consolePath }: LaunchResources,
  io: GuestIo,
  start: (fds: number[], consoleSocket: string | undefined) => Promise<number>,
  onPid: (pid: number) => void,
  onExit: (exit: Exit) => void,
): Promise<number> {
  const release = reaper.hold();
  try {
    const pid = io.terminal
      ? await withTerminal(sys, io, consolePath(), start)
      : await withPipes(sys, io, start);
    onPid(pid);
    reaper.watch(pid, onExit);
    return pid;
  } finally {
    release();
  }
}

async function withPipes(
  sys: Sys,
  io: GuestIo,
  start: (fds: number[], consoleSocket: undefined) => Promise<number>,
): Promise<number> {
  const pipes = openPipes(sys, io.wanted);
  try {
    const pid = await start(pipes.child, undefined);
    io.attach(pipes.own);
    return pid;
  } catch (error) {
    closeEndpoints(sys, pipes.own);
    throw error;
  } finally {
    closeChildEnds(sys, pipes);
  }
}

async function withTerminal(
  sys: Sys,
  io: GuestIo,
  path: string,
  start: (fds: number[], consoleSocket: string) => Promise<number>,
): Promise<number> {
  const socket = new ConsoleSocket(sys, path);
  let pid: number | undefined;
  try {
    pid = await start([-1, -1, -1], path);
    const master = await within(sys, TERMINAL_TIMEOUT_MS, "terminal", socket.master());
    io.attachTerminal(master);
    io.attach(terminalEndpoints(sys, master, io.wanted));
    return pid;
  } catch (error) {
    const orphan = pid;
    if (orphan !== undefined) allowing(["ESRCH"], () => sys.kill(orphan, SIGKILL));
    throw error;
  } finally {
    socket.close();
  }
}
