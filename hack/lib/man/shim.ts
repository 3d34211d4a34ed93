import { flagList } from "../../../src/shim/bootstrap/flags.ts";
import { PodPaths, STATE_ROOT } from "../../../src/shim/bootstrap/pod-paths.ts";
import { RUNTIME_NAME } from "../../../src/shim/bootstrap/runtime-name.ts";

/** Returns containerd-shim-hull-v2(8), with the flags that its usage lists. */
export function shimPage(): string {
  const pod = new PodPaths("<namespace>", "<pod>");
  return `## Name

containerd-shim-hull-v2 - containerd shim that runs every pod in a virtual machine

## Synopsis

\`containerd-shim-hull-v2\` \`-namespace\` *NS* \`-id\` *ID* [*flag*]... \`start\`|\`delete\`

\`containerd-shim-hull-v2\` \`-info\`|\`-version\`

## Description

containerd executes this program; people rarely do. It implements version 2 of containerd's runtime API. containerd
derives its name from the runtime's, \`${RUNTIME_NAME}\`, and looks for it on its own \`PATH\`:

    ctr run --rm --runtime ${RUNTIME_NAME} docker.io/library/busybox:latest test uname -r

For Kubernetes, containerd's configuration has a runtime handler of this type, which a RuntimeClass names.

The program itself only starts daemons and cleans up. \`start\` starts a daemon for each pod, or for a container without a
pod. The daemon starts the virtual machine monitor (VMM) and its helpers. It exits when containerd shuts it down or when its
last container is gone.

## Actions

\`start\`
: Starts the pod's daemon unless it already runs, and prints its address. containerd executes this action in the container's
  bundle, with options on standard input.

\`delete\`
: Releases what the pod of a crashed daemon has left on the host. Does not change a pod whose daemon is alive.

## Flags

The syntax is that of Go's flag package: \`-id x\`, \`--id x\` and \`-id=x\` are the same.

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
: The action failed. The reason is on standard error, in one line.

\`2\`
: The command line is invalid.

## Signals

These are for the daemon, whose PID is in the file \`shim.pid\`.

\`SIGTERM\`, \`SIGINT\`
: Stop the pod, release everything it has on the host, and exit.

\`SIGUSR1\`
: Log the state of all components in one line: the pod, its containers and processes, pending calls and their age, queues,
  health, and the ledger. The pod is not affected.

## Environment

\`TTRPC_ADDRESS\`
: containerd's ttrpc socket, for publishing events. Set by containerd.

\`HULL_CONFIG\`
: Configuration file for pods whose runtime handler names none; see **hull-config**(5).

## Files

\`${STATE_ROOT}/<namespace>/<pod>/\`
: The state of a pod. It is removed with the pod.

\`${pod.socket}\`
: Socket on which the daemon serves containerd.

\`${pod.record}\`
: Parameters that containerd passed to \`start\`.

\`${pod.pid}\`
: PID and start time of the daemon.

\`${pod.directory}/state.json\`
: Ledger of everything that the pod has on the host.

## Diagnostics

The daemon writes its log, one JSON object per line, to containerd's log. \`runtime.log_level\` sets the level.

## See also

**hull**(1), **hull-config**(5), **containerd**(8), **ctr**(8)
`;
}
