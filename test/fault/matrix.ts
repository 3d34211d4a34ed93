/** Which component of a pod dies or hangs at which step: all cases of the matrix, and those that CI runs. */

/**
 * The components to break; `launcher` is the shim's `start`, `guest` the guest's kernel together with the
 * agent.
 */
export const COMPONENTS = [
  "shim",
  "qemu",
  "virtiofsd",
  "virtiofsd-worker",
  "vhost-device-vsock",
  "pod-localhost",
  "containerd",
] as const;
type Component = (typeof COMPONENTS)[number] | "guest" | "launcher" | "ledger" | "spawn";
type How = "kill" | "stop" | "error";
/** A container that is its own pod, or one in a pod with a sandbox container, as with CRI. */
type Shape = "single" | "pod";
/** Whether the VM is a clone of a template. */
export type Base = "clone" | "cold";
export const STEPS = ["start", "create", "created", "run", "running", "exec", "kill", "delete"] as const;
export type Step = (typeof STEPS)[number];

export interface FaultCase {
  readonly name: string;
  readonly component: Component;
  readonly how: How;
  readonly step: Step;
  /** The failpoint, or `now` for between two calls of the client. */
  readonly at: string;
  /** The fault occurs the n-th time that it is reached. */
  readonly nth: number;
  readonly shape: Shape;
  readonly base: Base;
  /**
   * What else is broken: the shim's `delete` fails until the id is reused, or the end of the ledger is
   * truncated while the shim is stopped.
   */
  readonly broken?: "delete" | "ledger";
}

interface Point {
  readonly step: Step;
  readonly at: string;
  readonly nth?: number;
  /** The components that exist by then; default: all. */
  readonly components?: readonly Component[];
}

/** While the VM is started, its components come one after the other. */
const STARTING: readonly Point[] = [
  { step: "start", at: "run:daemon", components: ["shim", "containerd"] },
  { step: "create", at: "call:Task.Create", components: ["shim", "containerd"] },
  { step: "create", at: "recorded:cgroup", components: ["shim", "containerd"] },
  { step: "create", at: "recorded:directory.vm", components: ["shim", "containerd"] },
  { step: "create", at: "recorded:virtiofsd", components: ["shim", "containerd"] },
  { step: "create", at: "spawned:virtiofsd", components: ["shim", "virtiofsd", "containerd"] },
  {
    step: "create",
    at: "spawned:vhost-device-vsock",
    components: ["shim", "vhost-device-vsock", "containerd"],
  },
  {
    step: "create",
    at: "recorded:qemu",
    components: ["shim", "virtiofsd", "vhost-device-vsock", "containerd"],
  },
  {
    step: "create",
    at: "spawned:qemu",
    components: ["shim", "qemu", "virtiofsd", "vhost-device-vsock", "containerd"],
  },
  {
    step: "create",
    at: "spawned:pod-localhost",
    components: ["shim", "qemu", "virtiofsd", "vhost-device-vsock", "pod-localhost", "containerd"],
  },
  { step: "create", at: "call:Agent.Hello" },
  { step: "create", at: "call:Agent.StartSandbox" },
  { step: "create", at: "answer:Agent.StartSandbox" },
];

/** The life cycle of a container in a running VM. In a pod the sandbox container's calls come first. */
const living = (before: number): readonly Point[] => [
  { step: "create", at: "call:Agent.CreateContainer" },
  { step: "create", at: "answer:Agent.CreateContainer" },
  { step: "create", at: "answer:Task.Create", nth: 1 + before },
  { step: "created", at: "now" },
  { step: "run", at: "call:Task.Start", nth: 1 + before },
  { step: "run", at: "call:Agent.StartProcess" },
  { step: "run", at: "answer:Agent.StartProcess" },
  { step: "run", at: "answer:Task.Start", nth: 1 + before },
  { step: "running", at: "now" },
  { step: "exec", at: "call:Task.Exec" },
  { step: "exec", at: "call:Agent.CreateExec" },
  { step: "exec", at: "answer:Agent.CreateExec" },
  { step: "exec", at: "call:Agent.StartProcess", nth: 2 },
  { step: "exec", at: "answer:Agent.StartProcess", nth: 2 },
  { step: "kill", at: "call:Task.Kill" },
  { step: "kill", at: "call:Agent.SignalProcess" },
];

/** The VM of a single container stops with it, so only the shim exists at Delete. */
const DELETING: Readonly<Record<Shape, readonly Point[]>> = {
  single: [
    { step: "delete", at: "call:Task.Delete", components: ["shim", "containerd"] },
    { step: "delete", at: "answer:Task.Delete", components: ["shim", "containerd"] },
    { step: "delete", at: "call:Task.Shutdown", components: ["shim", "containerd"] },
  ],
  pod: [
    { step: "delete", at: "call:Task.Delete" },
    { step: "delete", at: "call:Agent.DeleteProcess" },
    { step: "delete", at: "answer:Agent.DeleteProcess" },
    { step: "delete", at: "answer:Task.Delete" },
  ],
};

/** Where a full disk (for the ledger) or a missing program has an effect. */
const ERRORS: readonly { component: "ledger" | "spawn"; at: string }[] = [
  ...["cgroup", "directory.vm", "virtiofsd", "vhost-device-vsock", "qemu", "tap", "pod-localhost"].map(
    (resource) => ({ component: "ledger" as const, at: `recorded:${resource}` }),
  ),
  ...["virtiofsd", "vhost-device-vsock", "qemu", "pod-localhost"].map((role) => ({
    component: "spawn" as const,
    at: `spawn:${role}`,
  })),
];

function faultCase(at: Omit<FaultCase, "name">): FaultCase {
  const { component, how, step, at: point, nth, shape, base, broken } = at;
  const times = nth > 1 ? ` the ${nth}nd time` : "";
  const besides = broken === undefined ? "" : `, and the ${broken} is broken`;
  return { ...at, name: `${shape}, ${base}: ${how} ${component} at ${step} (${point}${times})${besides}` };
}

function casesOf(points: readonly Point[], shape: Shape, base: Base): FaultCase[] {
  return points.flatMap(({ step, at, nth = 1, components = COMPONENTS }) =>
    components.flatMap((component) =>
      (["kill", "stop"] as const).map((how) => faultCase({ component, how, step, at, nth, shape, base })),
    ),
  );
}

/** Returns the whole matrix. Once the VM runs, a clone and a booted VM behave the same. */
export function allCases(): FaultCase[] {
  const errors = (shape: Shape, base: Base) =>
    ERRORS.map(({ component, at }) =>
      faultCase({ component, how: "error", step: "create", at, nth: 1, shape, base }),
    );
  // Later it is too fast: test/conformance/abandoned.test.ts makes it block.
  const launcher = faultCase({
    ...{ component: "launcher", how: "kill", step: "start", at: "run:protocol" },
    ...{ nth: 1, shape: "single", base: "clone" },
  });
  const guests = (["single", "pod"] as const).map((shape) =>
    faultCase({
      ...{ component: "guest", how: "kill", step: "running", at: "now", nth: 1 },
      ...{ shape, base: "clone" },
    }),
  );
  const broken = [
    ...["call:Task.Create", "call:Agent.CreateContainer"].map((at) =>
      faultCase({
        ...{ component: "shim", how: "kill", step: "create", at, nth: 1 },
        ...{ shape: "single", base: "clone", broken: "delete" },
      }),
    ),
    faultCase({
      ...{ component: "shim", how: "stop", step: "running", at: "now", nth: 1 },
      ...{ shape: "single", base: "clone", broken: "ledger" },
    }),
  ];
  const life = (shape: Shape) => [...living(shape === "pod" ? 1 : 0), ...DELETING[shape]];
  return [
    launcher,
    ...guests,
    ...broken,
    ...casesOf([...STARTING, ...life("single")], "single", "clone"),
    ...errors("single", "clone"),
    ...casesOf([...STARTING, ...life("pod")], "pod", "clone"),
    ...errors("pod", "clone"),
    ...casesOf(STARTING, "single", "cold"),
    ...errors("single", "cold"),
  ];
}

/** One point of each step, for CI. */
const CI_POINTS: Readonly<Record<Step, readonly string[]>> = {
  start: ["run:daemon", "run:protocol"],
  create: ["spawned:qemu", "call:Agent.CreateContainer"],
  created: ["now"],
  run: ["call:Agent.StartProcess"],
  running: ["now"],
  exec: ["call:Agent.CreateExec"],
  kill: ["call:Agent.SignalProcess"],
  delete: ["call:Task.Delete"],
};
/**
 * Fewer steps, since a hanging component takes time until its timeout; also for pod-localhost, which does not
 * affect the pod.
 */
const CI_STOPS: readonly Step[] = ["create", "running"];

/** Returns the cases that CI runs: each component at each step with a clone, and some of the other kinds. */
export function ciCases(): FaultCase[] {
  return allCases().filter(({ component, how, step, at, shape, base, broken }) => {
    if (broken !== undefined) return true;
    if (!CI_POINTS[step].includes(at) && how !== "error") return false;
    if (base === "cold") return component === "qemu" && how === "kill";
    if (how === "error") return shape === "single" && ["recorded:qemu", "spawn:virtiofsd"].includes(at);
    if (component === "guest") return shape === "single";
    if (shape === "pod") return how === "kill" && step === "delete";
    if (component === "pod-localhost") return how === "kill" && CI_STOPS.includes(step);
    return how === "kill" || (CI_STOPS.includes(step) && at !== "spawned:qemu");
  });
}
