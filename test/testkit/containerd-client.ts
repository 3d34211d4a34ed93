import { status } from "@grpc/grpc-js";
import { Options } from "../../src/proto/generated/runtimeoptions/v1/options.ts";
import { BUSYBOX, type Ctr } from "./ctr.ts";
import { type GrpcClient, GrpcSocket } from "./grpc-client.ts";
import { messageOf } from "./message.ts";
import { ContainersDefinition } from "./proto/generated/containerd/services/containers.ts";
import { EventsDefinition } from "./proto/generated/containerd/services/events.ts";
import { SnapshotsDefinition } from "./proto/generated/containerd/services/snapshots.ts";
import { type Mount, TasksDefinition } from "./proto/generated/containerd/services/tasks.ts";

/** The parts of an OCI spec that tests change. */
export interface Spec {
  process: OciProcess;
  mounts: { destination: string; type?: string; source?: string; options?: string[] }[];
  linux: {
    cgroupsPath?: string;
    namespaces: { type: string; path?: string }[];
    resources?: Record<string, unknown>;
    [other: string]: unknown;
  };
  [other: string]: unknown;
}

export interface OciProcess {
  args: string[];
  env?: string[];
  cwd?: string;
  user?: { uid?: number; gid?: number; additionalGids?: number[]; umask?: number };
  terminal?: boolean;
  consoleSize?: { width: number; height: number };
  capabilities?: Record<string, string[]>;
  noNewPrivileges?: boolean;
  rlimits?: { type: string; soft: number; hard: number }[];
  [other: string]: unknown;
}

/** How a container's record differs from what `ctr` creates for the busybox image. */
interface RecordSettings {
  readonly id: string;
  readonly runtime: string;
  /** hull's configuration file. */
  readonly configPath?: string | undefined;
  readonly edit?: ((spec: Spec) => void) | undefined;
}

const JSON_TYPES = "types.containerd.io/opencontainers/runtime-spec/1/";

/** A value of the OCI runtime spec as containerd passes it on. */
export function ociAny(type: "Process" | "LinuxResources" | "Spec", value: object) {
  return { typeUrl: `${JSON_TYPES}${type}`, value: Buffer.from(JSON.stringify(value)) };
}

/** The name of a failed call's gRPC status, `NOT_FOUND` for example. Throws any other error. */
export function statusName(error: unknown): string {
  const { code, details } = error as { code?: unknown; details?: unknown };
  // Only gRPC's errors have details: the code of a failed program is a number, too.
  const name = typeof code === "number" && typeof details === "string" ? status[code] : undefined;
  if (name === undefined) throw error;
  return name;
}

/** containerd's own API in one namespace, without a `ctr` in between. */
export class ContainerdClient {
  readonly #socket: GrpcSocket;
  readonly #ctr: Ctr;
  readonly tasks: GrpcClient<typeof TasksDefinition>;
  readonly containers: GrpcClient<typeof ContainersDefinition>;
  readonly snapshots: GrpcClient<typeof SnapshotsDefinition>;
  readonly events: GrpcClient<typeof EventsDefinition>;
  #model: Promise<{ spec: Spec; snapshotter: string; parent: string }> | undefined;

  /** `ctr` selects the namespace, which has the busybox image. */
  constructor(address: string, ctr: Ctr) {
    this.#ctr = ctr;
    this.#socket = new GrpcSocket(address, { "containerd-namespace": ctr.namespace });
    this.tasks = this.#socket.client(TasksDefinition);
    this.containers = this.#socket.client(ContainersDefinition);
    this.snapshots = this.#socket.client(SnapshotsDefinition);
    this.events = this.#socket.client(EventsDefinition);
  }

  get namespace(): string {
    return this.#ctr.namespace;
  }

  /** Call it after `Containerd.kill`: resolves once the restarted containerd can be called. */
  reconnected(): Promise<void> {
    return this.#socket.reconnected();
  }

  close(): void {
    this.#socket.close();
  }

  /** Creates a container's record and root file system. Resolves with the mounts for its task. */
  async record({ id, runtime, configPath, edit }: RecordSettings): Promise<Mount[]> {
    this.#model ??= this.#readModel();
    const { spec: model, snapshotter, parent } = await this.#model;
    const spec = structuredClone(model);
    spec.linux.cgroupsPath = `/${this.namespace}/${id}`;
    edit?.(spec);
    const { mounts } = await this.snapshots.prepare({
      ...{ snapshotter, key: id, parent },
      // Without it containerd's garbage collection may delete it before the container's record exists.
      labels: { "containerd.io/gc.root": new Date().toISOString() },
    });
    const options =
      configPath === undefined
        ? undefined
        : {
            typeUrl: "runtimeoptions.v1.Options",
            value: Options.encode(messageOf(Options, { configPath })).finish(),
          };
    await this.containers.create({
      container: {
        ...{ id, image: BUSYBOX, snapshotter, snapshotKey: id, labels: {} },
        runtime: { name: runtime, options },
        spec: ociAny("Spec", spec),
      },
    });
    return mounts;
  }

  /** Removes what `record` has created. */
  async removeRecord(id: string): Promise<void> {
    await this.containers.delete({ id });
    const { snapshotter } = await (this.#model ?? this.#readModel());
    // containerd's garbage collection may have been faster.
    await this.snapshots.remove({ snapshotter, key: id }).catch((error) => {
      if (statusName(error) !== "NOT_FOUND") throw error;
    });
  }

  /** Reads what ctr creates for the image, from a record without a task. */
  async #readModel() {
    const id = "model";
    await this.#ctr.expect(["containers", "create", BUSYBOX, id, "true"]);
    const { container } = await this.containers.get({ id });
    if (!container?.spec) throw new Error("ctr created a container without a spec");
    const { snapshotter, snapshotKey } = container;
    const { info } = await this.snapshots.stat({ snapshotter, key: snapshotKey });
    await this.#ctr.expect(["containers", "rm", id]);
    const spec = JSON.parse(Buffer.from(container.spec.value).toString("utf8")) as Spec;
    return { spec, snapshotter, parent: info?.parent ?? "" };
  }
}
