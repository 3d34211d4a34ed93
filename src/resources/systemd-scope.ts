import { posix } from "node:path";
import { Deadline } from "../core/deadline.ts";
import { run, ToolError } from "../host/run.ts";
import type { ScopeUnit } from "./cgroup-path.ts";
import { evacuate, exists, hasGroups } from "./cgroup-tree.ts";
import type { Hierarchy } from "./hierarchies.ts";

/** For a systemd that is busy or reloads its units; runc waits as long. */
const START_LIMIT_MS = 30_000;

/** As runc sets them: systemd leaves the cgroup to hull, and a shutdown of the host does not stop pods before containerd. */
const PROPERTIES = ["Delegate=yes", "DefaultDependencies=no", "TasksMax=infinity"];

/**
 * Lets systemd start a scope with this process in it. If the scope's cgroup exists, does nothing: the pod joins it, like any
 * other cgroup. systemd's tools connect to systemd directly, so D-Bus's daemon is not needed.
 */
export async function openScope(
  { name, slice }: ScopeUnit,
  { mount }: Hierarchy,
  path: string,
): Promise<void> {
  const directory = mount + path;
  // systemd-run waits until the scope has started, and then becomes the program that it is given.
  const enter = [String(process.pid), posix.join(directory, "cgroup.procs")];
  const options = [
    ...["--scope", "--quiet", "--collect", `--unit=${name}`, `--slice=${slice}`, "--description=hull pod"],
    ...PROPERTIES.map((word) => `--property=${word}`),
  ];
  await Deadline.within(START_LIMIT_MS, `systemd to start ${name}`, async (deadline) => {
    const start = () =>
      run(["systemd-run", ...options, "--", "sh", "-c", 'echo "$1" >"$2"', "sh", ...enter], deadline);
    if (await exists(directory)) return;
    await start().catch(async (error) => {
      if (!(error instanceof ToolError)) throw error;
      if (await exists(directory)) return; // another pod with this path was faster
      // systemd may not have noticed yet that the scope of an earlier pod is empty.
      await stopUnlessElsewhere(name, path, deadline);
      await start();
    });
  });
}

/**
 * Moves all processes out of a scope and lets systemd end it. systemd could miss that the last process left if the cgroup were
 * removed right afterwards, and then keep the unit.
 */
export async function closeScope(
  { name }: ScopeUnit,
  hierarchy: Hierarchy,
  path: string,
  deadline: Deadline,
): Promise<void> {
  const directory = hierarchy.mount + path;
  if (!(await exists(directory))) return await stopUnlessElsewhere(name, path, deadline);
  if (await hasGroups(directory)) return; // of another pod
  await evacuate(hierarchy, directory);
  await stop(name, deadline);
}

/** Stops a scope whose cgroup is gone. A unit with its name may be another pod's, in another slice. */
async function stopUnlessElsewhere(name: string, path: string, deadline: Deadline): Promise<void> {
  const show = ["systemctl", "show", "--property=ControlGroup", "--value", name] as const;
  const group = await run(show, deadline).then(
    (output) => output.trim(),
    () => undefined,
  );
  if (group === "" || group === path) await stop(name, deadline);
}

/** Ignores failures: a unit that is gone cannot be stopped, and a cgroup that is left is removed by the caller. */
async function stop(name: string, deadline: Deadline): Promise<void> {
  await run(["systemctl", "stop", "--quiet", name], deadline).catch(() => undefined);
}
