import type { BlockSettings, HotplugDevice, NicDevice, VsockDevice } from "../hypervisor.ts";
import type { BlockNode, QmpCommands } from "./qmp-types.ts";

/** The id of the I/O thread that all disks share if disks have a thread of their own. */
export const IO_THREAD = "disks";

/**
 * A device as QEMU sees it: its backend (a character device, a netdev or a block node) and its frontend (the virtio
 * device). Both the command line of a boot and the QMP commands of a hot-plug are derived from it.
 */
export interface DeviceModel {
  readonly backend:
    | { readonly kind: "chardev"; readonly id: string; readonly path: string }
    | {
        readonly kind: "netdev";
        readonly id: string;
        /** A tap that QEMU opens, or an inherited descriptor. */
        readonly tap: Pick<NicDevice, "tap" | "device"> | { readonly fd: number };
        readonly vhost: boolean;
      }
    | { readonly kind: "block"; readonly node: BlockNode }
    | undefined;
  /** `driver` without its bus suffix (`-pci`, `-device`). */
  readonly frontend: {
    readonly driver: string;
    readonly id: string;
    readonly properties: Record<string, string | number | boolean>;
  };
}

/**
 * Returns QEMU's name of a driver on PCI. Devices of the kinds that predate virtio 1.0 also support the older transport by default,
 * which needs an I/O window for each.
 */
export const pciDriver = (driver: string) =>
  driver.startsWith("virtio-") ? `${driver}-pci-non-transitional` : `${driver}-pci`;

/** Returns the model of a vsock device. `vhostFd` is the descriptor of /dev/vhost-vsock in QEMU. */
export function vsockModel(vsock: Exclude<VsockDevice, { kind: "hybrid" }>, vhostFd: number): DeviceModel {
  if (vsock.kind === "vhost") {
    return {
      backend: undefined,
      frontend: {
        driver: "vhost-vsock",
        id: "vsock",
        properties: { "guest-cid": vsock.cid, vhostfd: String(vhostFd) },
      },
    };
  }
  return deviceModel(vsock, "vsock", false);
}

/** Returns the model of a network interface. `fd` is the tap's descriptor in QEMU, if it is inherited. */
export function nicModel(nic: NicDevice, id: string, fd?: number): DeviceModel {
  const backend = `${id}-backend`;
  const tap = fd === undefined ? nic : { fd };
  return {
    backend: { kind: "netdev", id: backend, tap, vhost: nic.vhost ?? false },
    frontend: {
      driver: "virtio-net",
      id,
      properties: { netdev: backend, mac: nic.mac, host_mtu: nic.mtu },
    },
  };
}

/** Returns the model of a device. `id` must be unique in the VM; `block` is whether a disk's path is a block device. */
export function deviceModel(
  device: Exclude<HotplugDevice, { kind: "vhost" }>,
  id: string,
  block: boolean,
  settings?: BlockSettings,
): DeviceModel {
  const backend = `${id}-backend`;
  switch (device.kind) {
    case "vhost-user":
      return {
        backend: { kind: "chardev", id: backend, path: device.socket },
        frontend: { driver: "vhost-user-vsock", id, properties: { chardev: backend } },
      };
    case "share":
      return {
        backend: { kind: "chardev", id: backend, path: device.socket },
        frontend: {
          driver: "vhost-user-fs",
          id,
          properties: { chardev: backend, tag: device.tag, "queue-size": 1024 },
        },
      };
    case "nic":
      return nicModel(device, id);
    case "pci":
      return { backend: undefined, frontend: { driver: "vfio", id, properties: { host: device.address } } };
    case "disk": {
      const cache = (settings?.direct || settings?.noFlush) && {
        cache: { direct: settings.direct, "no-flush": settings.noFlush },
      };
      return {
        backend: {
          kind: "block",
          node: {
            driver: "raw",
            "node-name": backend,
            "read-only": device.readOnly,
            ...cache,
            file: {
              driver: block ? "host_device" : "file",
              filename: device.path,
              ...(settings && settings.aio !== "threads" && { aio: settings.aio }),
              ...cache,
            },
          },
        },
        frontend: {
          driver: "virtio-blk",
          id,
          properties: {
            drive: backend,
            serial: device.serial,
            ...(settings?.ioThread && { iothread: IO_THREAD }),
          },
        },
      };
    }
  }
}

/** Returns the arguments of `chardev-add` for the vhost-user socket `path`. */
export function chardevArguments(id: string, path: string): QmpCommands["chardev-add"]["arguments"] {
  return { id, backend: { type: "socket", data: { addr: { type: "unix", data: { path } }, server: false } } };
}
