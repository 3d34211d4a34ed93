import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { requireFits } from "../oci/guest-resources.ts";
import type { OciResources } from "../oci/spec.ts";
import type { VmSize } from "../resources/sizing.ts";

/** A VM's capacity for the containers of its pod. */
export interface VmCapacity {
  /** The VM's current size. */
  readonly size: VmSize;
  /** Provides capacity for a new container. Throws FailedPrecondition if its limits are too large. */
  admit(container: string, resources: OciResources, deadline: Deadline): Promise<void>;
  /** Provides capacity for a container's new limits. Throws as `admit`. */
  change(container: string, resources: OciResources, deadline: Deadline): Promise<void>;
  /** Drops the limits of a container that is deleted or was not created. */
  forget(container: string): void;
  /** What there is, for the state dump. */
  describe(): Snapshot;
}

/** The capacity of a VM whose size is fixed by the limits of its pod. */
export class FixedCapacity implements VmCapacity {
  constructor(readonly size: VmSize) {}

  async admit(): Promise<void> {
    // The pod's limits already include the container's.
  }

  async change(container: string, resources: OciResources): Promise<void> {
    requireFits(container, resources, this.size);
  }

  forget(): void {
    // Nothing is counted.
  }

  describe(): Snapshot {
    return { ...this.size };
  }
}
