import type { Deadline } from "../core/deadline.ts";
import { Disposer } from "../core/disposer.ts";
import { invalidArgument } from "../core/errors.ts";
import type { Resource } from "../core/ledger.ts";
import { killAll } from "../host/kill.ts";
import { releaseLoop } from "../host/loop-device.ts";
import { unmountTree } from "../host/mount.ts";
import { findByMark, type ProcessIdentity } from "../host/proc.ts";
import { removeAll, removeTree } from "../host/remove-tree.ts";
import { releaseVmUser } from "../host/vm-user.ts";
import { releaseUnread } from "../network/find-taps.ts";
import { releaseNetwork } from "../network/release.ts";
import { giveBack } from "../network/take-nic.ts";
import { releaseCgroup } from "../resources/pod-cgroup.ts";
import type { StateFile } from "./state-file.ts";

type Of<K extends Resource["kind"]> = Extract<Resource, { kind: K }>;
/** Kinds whose resources are released one by one. */
type Single = "cgroup" | "loop" | "mount" | "socket" | "directory";

const RELEASE: { readonly [K in Single]: (resource: Of<K>, pod: StateFile, by: Deadline) => Promise<void> } =
  {
    cgroup: (record, _pod, by) => releaseCgroup(record, by),
    loop: ({ file, device }, _pod, by) => releaseLoop(file, device, by),
    mount: ({ path }, pod, by) => unmountTree(ownPath(path, pod), by),
    // A compromised VMM may have put a directory in its place.
    socket: ({ path }, pod, by) => removeAll(ownPath(path, pod), by),
    directory: ({ path }, pod, by) => removeTree(ownPath(path, pod), by),
  };

/** After the processes, the users and the network, which are released in groups. */
const ORDER: readonly Single[] = ["cgroup", "loop", "mount", "socket", "directory"];

/** Timeout for the reset of a device and the start of its driver. */
const RESET_MS = 20_000;

interface Step {
  readonly name: string;
  readonly frees: readonly Resource[];
  readonly limitMs?: number;
  run(by: Deadline): Promise<void>;
}

/**
 * Releases everything in a pod's ledger and removes it from there: processes first, then what they used,
 * newest first. Each step has its own timeout; rejects with all failures. `installation` contains libexec/.
 */
export async function releaseRecorded(
  state: StateFile,
  installation: string,
  deadline: Deadline,
): Promise<void> {
  const disposer = new Disposer();
  for (const { name, frees, run, limitMs } of steps(state, installation).reverse()) {
    disposer.push(
      name,
      async (by) => {
        await run(by);
        // If this cannot be written (no space), the entry is released again later, which is harmless.
        await state.forget(frees).catch(() => undefined);
      },
      limitMs,
    );
  }
  await disposer.dispose(deadline);
}

function steps(state: StateFile, installation: string): Step[] {
  const { resources } = state;
  const of = <K extends Resource["kind"]>(...kinds: K[]) =>
    resources.filter((one): one is Of<K> => (kinds as string[]).includes(one.kind));
  const pod = `${state.namespace}/${state.id}`;
  const processes = of("process");
  const network = of("tap", "qdisc");
  const unread = of("netns");
  return [
    {
      // Also by mark: the daemon may have been killed before it recorded a process's PID.
      name: `processes of pod ${pod}`,
      // The kernel resets the devices of a VFIO group when its last process closes it.
      frees: [...processes, ...of("vfio")],
      run: async (by) => await killAll([...processes.flatMap(identity), ...(await findByMark(pod))], by),
    },
    ...of("user").map((user) => ({
      name: `user ${user.path}`,
      frees: [user],
      run: (by: Deadline) => releaseVmUser(user.path, state, installation, by),
    })),
    ...of("nic").map((nic) => ({
      name: `network adapter ${nic.address}`,
      frees: [nic],
      limitMs: RESET_MS,
      run: (by: Deadline) => giveBack(nic, by),
    })),
    ...[...new Set(network.map(({ netns }) => netns))].map((netns) => {
      const frees = network.filter((one) => one.netns === netns);
      return { name: `network of ${netns}`, frees, run: (by: Deadline) => releaseNetwork(frees, by) };
    }),
    ...ORDER.flatMap((kind) =>
      of(kind)
        .reverse()
        .map((resource) => single(kind, resource, state)),
    ),
    { name: "unread network namespaces", frees: unread, run: (by) => releaseUnread(pod, unread, by) },
  ];
}

function single<K extends Single>(kind: K, resource: Of<K>, state: StateFile): Step {
  const { path, file } = resource as { path?: string; file?: string };
  return {
    name: `${kind} ${path ?? file}`,
    frees: [resource],
    run: async (by) => await RELEASE[kind](resource, state, by),
  };
}

/**
 * Throws InvalidArgument for a path outside the pod's directory: a damaged record must not delete other
 * files.
 */
function ownPath(path: string, { directory }: StateFile): string {
  if (path.startsWith(`${directory}/`) && !path.split("/").includes("..")) return path;
  throw invalidArgument(`it is not in the pod's directory ${directory}`);
}

function identity({ pid, startTime }: Of<"process">): ProcessIdentity[] {
  return pid !== undefined && startTime !== undefined ? [{ pid, startTime }] : [];
}
