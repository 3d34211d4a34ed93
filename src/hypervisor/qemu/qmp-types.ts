/**
 * The QMP commands that the driver uses, as in QEMU's QAPI schema (docs/interop/qemu-qmp-ref). Code that uses results
 * checks them.
 */
export interface QmpCommands {
  qmp_capabilities: { arguments: undefined; result: unknown };
  "query-status": { arguments: undefined; result: { status: string; running: boolean } };
  stop: { arguments: undefined; result: unknown };
  cont: { arguments: undefined; result: unknown };
  system_reset: { arguments: undefined; result: unknown };
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
    arguments: {
      capabilities: { capability: "x-ignore-shared" | "events" | "mapped-ram"; state: boolean }[];
    };
    result: unknown;
  };
  migrate: { arguments: { uri: string }; result: unknown };
  "migrate-incoming": { arguments: { uri: string }; result: unknown };
  device_add: { arguments: { driver: string; id: string } & Record<string, unknown>; result: unknown };
  "query-hotpluggable-cpus": { arguments: undefined; result: HotpluggableCpu[] };
  "object-add": { arguments: MemoryObject; result: unknown };
  "object-del": { arguments: { id: string }; result: unknown };
  /** Untyped: the reader checks the little that it uses (PciInfo). */
  "query-pci": { arguments: undefined; result: unknown };
  device_del: { arguments: { id: string }; result: unknown };
}

/** A CPU slot. */
interface HotpluggableCpu {
  /** The driver for `device_add`, with `props` as its properties. */
  type: string;
  props: Record<string, number>;
  /** Set if a CPU is in the slot. */
  "qom-path"?: string;
}

/** Anonymous memory. */
interface MemoryObject {
  "qom-type": "memory-backend-memfd";
  id: string;
  /** In bytes. */
  size: number;
  share: boolean;
  hugetlb?: boolean;
  prealloc?: boolean;
}

/** QAPI's BlockdevCacheOptions. */
interface BlockCache {
  direct: boolean;
  "no-flush": boolean;
}

/** A raw image or block device: QAPI's BlockdevOptions. */
export interface BlockNode {
  driver: "raw";
  "node-name": string;
  "read-only": boolean;
  cache?: BlockCache;
  file: { driver: "file" | "host_device"; filename: string; aio?: string; cache?: BlockCache };
}

/** The name of a command. */
export type QmpCommand = keyof QmpCommands;

/** The QMP events that the driver uses. */
export interface QmpEvents {
  /** The guest or the host has shut the VM down. */
  SHUTDOWN: { guest: boolean; reason: string };
  /** With the capability `events`: `setup`, `active` ..., `completed` or `failed`. */
  MIGRATION: { status: string };
  /** The guest has released a device. */
  DEVICE_DELETED: { device?: string; path: string };
  /** The guest has acknowledged that a CPU or memory is added or removed (ACPI's _OST): status 0 is success. */
  ACPI_DEVICE_OST: { info: { device?: string; source: number; status: number } };
  /** The guest refused to release a device. */
  DEVICE_UNPLUG_GUEST_ERROR: { device?: string; path: string };
}

/** The name of an event. */
export type QmpEvent = keyof QmpEvents;
