import { flagList } from "../../../src/shim/bootstrap/flags.ts";
import { PodPaths, STATE_ROOT } from "../../../src/shim/bootstrap/pod-paths.ts";
import { RUNTIME_NAME } from "../../../src/shim/bootstrap/runtime-name.ts";

/** containerd-shim-hull-v2(8), with the flags that its usage lists. */
export function shimPage(): string {
  const pod = new PodPaths("<namespace>", "<pod>");
  return `## Name

containerd-shim-hull-v2 - containerd shim that runs every pod in a virtual machine

## Synopsis

\`containerd-shim-hull-v2\` \`-namespace\` *NS* \`-id\` *ID* [*flag*]... \`start\`|\`delete\`

\`containerd-shim-hull-v2\` \`-info\`|\`-version\`

## Description

containerd executes this program; people rarely do. It implements version 2 of containerd's runtime API. containerd derives
its name from the runtime's, which is \`${RUNTIME_NAME}\`, and looks for it on its own \`PATH\`:

    ctr run --rm --runtime ${RUNTIME_NAME} docker.io/library/busybox:latest test uname -r

For Kubernetes, containerd's configuration has a runtime handler of this type, which a RuntimeClass names.

The program itself only starts and cleans up. A pod is served by a daemon that \`start\` leaves behind: one per pod, or per
container that belongs to no pod. It starts the virtual machine monitor and its helpers, and ends when containerd shuts it down
or when it has no containers any more.

## Actions

\`start\`
: Starts the daemon of a pod, or finds the one that the container's pod has, and prints its address. containerd runs it in the
  container's bundle, with options on standard input.

\`delete\`
: Releases what the pod of a daemon that is gone has left on the host. A pod whose daemon is alive is not touched.

## Flags

Flags are written as Go's flag package has them: \`-id x\`, \`--id x\` and \`-id=x\` are the same.

${flagList()
  .map(({ usage, about }) => {
    const [flag, value] = usage.split(" ");
    return `\`${flag}\`${value ? ` *${value}*` : ""}\n: ${about.charAt(0).toUpperCase()}${about.slice(1)}.`;
  })
  .join("\n\n")}

## Exit status

\`0\`
: Success.

\`1\`
: The action failed; the reason is on standard error, in one line.

\`2\`
: The command line is wrong.

## Signals

These are for the daemon, whose process id is in the file \`shim.pid\`.

\`SIGTERM\`, \`SIGINT\`
: End the pod, release everything it has on the host, and exit.

\`SIGUSR1\`
: Log what every part is doing, in one line: states of the pod, its containers and processes, calls that have not been
  answered and their age, queues, health, and the ledger. The pod is not disturbed.

## Environment

\`TTRPC_ADDRESS\`
: containerd's ttrpc socket, to which events are published. containerd sets it.

\`HULL_CONFIG\`
: Configuration file for pods whose runtime handler names none; see **hull-config**(5).

## Files

\`${STATE_ROOT}/<namespace>/<pod>/\`
: The state of a pod. It is removed with the pod.

\`${pod.socket}\`
: Socket on which the daemon serves containerd.

\`${pod.record}\`
: What containerd passed to \`start\`.

\`${pod.pid}\`
: Process id and start time of the daemon.

\`${pod.directory}/state.json\`
: Ledger of everything the pod has on the host.

## Diagnostics

The daemon writes its log, one JSON object per line, to containerd's log. \`runtime.log_level\` sets the level.

## See also

**hull**(1), **hull-config**(5), **containerd**(8), **ctr**(8)
`;
}
