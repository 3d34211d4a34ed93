/**
 * The QMP commands and events that the driver uses, named and shaped as QEMU's QAPI schema has them
 * (docs/interop/qemu-qmp-ref). What QEMU sends is checked where it is used.
 */
export interface QmpCommands {
  qmp_capabilities: { arguments: undefined; result: unknown };
  "query-status": { arguments: undefined; result: { status: string; running: boolean } };
  stop: { arguments: undefined; result: unknown };
  cont: { arguments: undefined; result: unknown };
  quit: { arguments: undefined; result: unknown };
  "chardev-add": {
    arguments: {
      id: string;
      backend: { type: "socket"; data: { addr: { type: "unix"; data: { path: string } }; server: false } };
    };
    result: unknown;
  };
  "chardev-remove": { arguments: { id: string }; result: unknown };
  netdev_add: {
    arguments: { type: "tap"; id: string; ifname: string; script: "no"; downscript: "no"; vhost?: boolean };
    result: unknown;
  };
  netdev_del: { arguments: { id: string }; result: unknown };
  "blockdev-add": { arguments: BlockNode; result: unknown };
  "blockdev-del": { arguments: { "node-name": string }; result: unknown };
  "migrate-set-capabilities": {
    arguments: { capabilities: { capability: "x-ignore-shared" | "events"; state: boolean }[] };
    result: unknown;
  };
  migrate: { arguments: { uri: string }; result: unknown };
  "migrate-incoming": { arguments: { uri: string }; result: unknown };
  device_add: { arguments: { driver: string; id: string } & Record<string, unknown>; result: unknown };
  "query-hotpluggable-cpus": { arguments: undefined; result: HotpluggableCpu[] };
  "object-add": { arguments: MemoryObject; result: unknown };
  "object-del": { arguments: { id: string }; result: unknown };
  device_del: { arguments: { id: string }; result: unknown };
}

/** A place for a CPU. */
interface HotpluggableCpu {
  /** The driver for `device_add`, which takes `props`. */
  type: string;
  props: Record<string, number>;
  /** Of the CPU that is there. */
  "qom-path"?: string;
}

/** Anonymous memory, in bytes. */
interface MemoryObject {
  "qom-type": "memory-backend-memfd";
  id: string;
  size: number;
  share: boolean;
  hugetlb?: boolean;
  prealloc?: boolean;
}

/** BlockdevCacheOptions of QEMU's QAPI schema. */
interface BlockCache {
  direct: boolean;
  "no-flush": boolean;
}

/** A raw image or block device. */
export interface BlockNode {
  driver: "raw";
  "node-name": string;
  "read-only": boolean;
  cache?: BlockCache;
  file: { driver: "file" | "host_device"; filename: string; aio?: string; cache?: BlockCache };
}

export type QmpCommand = keyof QmpCommands;

export interface QmpEvents {
  /** The guest, or somebody on the host, has ended the machine. */
  SHUTDOWN: { guest: boolean; reason: string };
  /** With the capability `events`: `setup`, `active` ..., `completed` or `failed`. */
  MIGRATION: { status: string };
  /** The guest has let go of a device. */
  DEVICE_DELETED: { device?: string; path: string };
  /** The guest has dealt with a CPU or memory that was plugged in or is to go (ACPI, _OST): status 0 is success. */
  ACPI_DEVICE_OST: { info: { device?: string; source: number; status: number } };
  /** The guest refused to let go of a device. */
  DEVICE_UNPLUG_GUEST_ERROR: { device?: string; path: string };
}

export type QmpEvent = keyof QmpEvents;
