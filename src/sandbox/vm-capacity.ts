import type { Deadline } from "../core/deadline.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { requireFits } from "../oci/guest-resources.ts";
import type { OciResources } from "../oci/spec.ts";
import type { VmSize } from "../resources/sizing.ts";

/** What the containers of a pod may ask of its VM. */
export interface VmCapacity {
  /** The VM's now. */
  readonly size: VmSize;
  /** Makes room for a container that is to be created. Throws FailedPrecondition where its limits ask for too much. */
  admit(container: string, resources: OciResources, deadline: Deadline): Promise<void>;
  /** Makes room for other limits of a container. Throws as `admit`. */
  change(container: string, resources: OciResources, deadline: Deadline): Promise<void>;
  /** The container is gone, or did not come to be. */
  forget(container: string): void;
  /** What there is, for the state dump. */
  describe(): Snapshot;
}

/** A VM with one size for life, which was made for the limits of its pod. */
export class FixedCapacity implements VmCapacity {
  constructor(readonly size: VmSize) {}

  async admit(): Promise<void> {
    // The pod's limits had room for it, or had none.
  }

  async change(container: string, resources: OciResources): Promise<void> {
    requireFits(container, resources, this.size);
  }

  forget(): void {
    // Nothing was counted.
  }

  describe(): Snapshot {
    return { ...this.size };
  }
}
