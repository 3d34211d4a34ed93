/**
 * The request bodies of Cloud Hypervisor's API, restated as data from its published OpenAPI document (version
 * 0.3.0), with a validator that is deliberately stricter than the real server: serde ignores unknown fields,
 * which here are errors, because an ignored field is a bug of the caller.
 */

interface Shape {
  readonly required?: readonly string[];
  readonly fields: Readonly<Record<string, Type>>;
}
type Type =
  | "string"
  | "boolean"
  | "integer"
  | { readonly min: number; readonly max?: number }
  | { readonly oneOf: readonly string[] }
  | { readonly list: Type }
  | Shape;

const u8: Type = { min: 0, max: 255 };
const u16: Type = { min: 0, max: 65535 };
const u32: Type = { min: 0, max: 4294967295 };
const u64: Type = { min: 0 };

/** Fields that every PCI device has. */
const pci = { id: "string", pci_segment: u16, pci_device_id: u8, iommu: "boolean" } as const;
const pciWithoutIommu = { id: "string", pci_segment: u16, pci_device_id: u8 } as const;
const mode: Type = { oneOf: ["Off", "Pty", "Tty", "File", "Socket", "Null"] };
const bucket: Shape = {
  required: ["size", "refill_time"],
  fields: { size: u64, one_time_burst: u64, refill_time: u64 },
};
const rateLimiter: Shape = { fields: { bandwidth: bucket, ops: bucket } };

const cpus: Shape = {
  required: ["boot_vcpus", "max_vcpus"],
  fields: {
    boot_vcpus: { min: 1 },
    max_vcpus: { min: 1 },
    topology: {
      fields: { threads_per_core: u16, cores_per_die: u16, dies_per_package: u16, packages: u16 },
    },
    kvm_hyperv: "boolean",
    max_phys_bits: u8,
    nested: "boolean",
    affinity: { list: { required: ["vcpu", "host_cpus"], fields: { vcpu: u32, host_cpus: { list: u64 } } } },
    features: { fields: { amx: "boolean" } },
    core_scheduling: { oneOf: ["Vm", "Vcpu", "Off"] },
  },
};

const memoryFields = {
  size: u64,
  hotplug_size: u64,
  hotplugged_size: u64,
  mergeable: "boolean",
  shared: "boolean",
  hugepages: "boolean",
  hugepage_size: u64,
  prefault: "boolean",
  reserve: "boolean",
} as const;
const memory: Shape = {
  required: ["size"],
  fields: {
    ...memoryFields,
    hotplug_method: { oneOf: ["Acpi", "VirtioMem"] },
    thp: "boolean",
    zones: {
      list: {
        required: ["id", "size"],
        fields: { ...memoryFields, id: "string", file: "string", host_numa_node: u32 },
      },
    },
  },
};

const disk: Shape = {
  fields: {
    ...pci,
    path: "string",
    readonly: "boolean",
    direct: "boolean",
    num_queues: u16,
    queue_size: u16,
    vhost_user: "boolean",
    vhost_socket: "string",
    rate_limiter_config: rateLimiter,
    serial: "string",
    rate_limit_group: "string",
    queue_affinity: {
      list: {
        required: ["queue_index", "host_cpus"],
        fields: { queue_index: u16, host_cpus: { list: u64 } },
      },
    },
    backing_files: "boolean",
    sparse: "boolean",
    image_type: { oneOf: ["FixedVhd", "Qcow2", "Raw", "Vhdx", "Unknown"] },
    lock_granularity: { oneOf: ["ByteRange", "Full"] },
  },
};

const net: Shape = {
  fields: {
    ...pci,
    tap: "string",
    ip: "string",
    mask: "string",
    mac: "string",
    host_mac: "string",
    mtu: u16,
    num_queues: u16,
    queue_size: u16,
    vhost_user: "boolean",
    vhost_socket: "string",
    vhost_mode: { oneOf: ["Client", "Server"] },
    rate_limiter_config: rateLimiter,
    offload_tso: "boolean",
    offload_ufo: "boolean",
    offload_csum: "boolean",
  },
};

const fs: Shape = {
  required: ["num_queues", "queue_size", "socket", "tag"],
  fields: { ...pciWithoutIommu, tag: "string", socket: "string", num_queues: u16, queue_size: u16 },
};

const device: Shape = {
  required: ["path"],
  fields: { ...pci, path: "string", x_nv_gpudirect_clique: u8 },
};

const pmem: Shape = {
  required: ["file"],
  fields: { ...pci, file: "string", size: u64, discard_writes: "boolean" },
};

const vsock: Shape = {
  required: ["cid", "socket"],
  fields: { ...pci, cid: { min: 3, max: 4294967295 }, socket: "string" },
};

const vmConfig: Shape = {
  required: ["payload"],
  fields: {
    cpus,
    memory,
    payload: {
      fields: {
        firmware: "string",
        kernel: "string",
        cmdline: "string",
        initramfs: "string",
        igvm: "string",
        host_data: "string",
      },
    },
    rate_limit_groups: {
      list: {
        required: ["id", "rate_limiter_config"],
        fields: { id: "string", rate_limiter_config: rateLimiter },
      },
    },
    disks: { list: disk },
    net: { list: net },
    rng: { required: ["src"], fields: { ...pci, src: "string" } },
    balloon: {
      required: ["size"],
      fields: { ...pci, size: u64, deflate_on_oom: "boolean", free_page_reporting: "boolean" },
    },
    fs: { list: fs },
    devices: { list: device },
    pmem: { list: pmem },
    serial: { required: ["mode"], fields: { file: "string", socket: "string", mode } },
    console: { required: ["mode"], fields: { ...pci, file: "string", socket: "string", mode } },
    debug_console: { required: ["mode"], fields: { file: "string", mode, iobase: u16 } },
    vsock,
    iommu: "boolean",
    watchdog: "boolean",
    rtc: { fields: pci },
    pvpanic: "boolean",
    platform: {
      fields: {
        num_pci_segments: u16,
        iommu_segments: { list: u16 },
        iommu_address_width_bits: u8,
        system_serial_number: "string",
        serial_number: "string",
        system_uuid: "string",
        uuid: "string",
        oem_strings: { list: "string" },
        system_manufacturer: "string",
        system_product_name: "string",
        system_version: "string",
        system_family: "string",
        system_sku_number: "string",
        chassis_asset_tag: "string",
        iommufd: "boolean",
        vfio_p2p_dma: "boolean",
      },
    },
    landlock_enable: "boolean",
    landlock_rules: {
      list: { required: ["path", "access"], fields: { path: "string", access: "string" } },
    },
  },
};

/**
 * The body of each PUT action; null: the action takes none. The actions for vDPA, user devices, generic
 * vhost-user, NUMA zones and migration are not implemented.
 */
export const BODIES: Readonly<Record<string, Shape | null>> = {
  "vmm.shutdown": null,
  "vm.create": vmConfig,
  "vm.delete": null,
  "vm.boot": null,
  "vm.pause": null,
  "vm.resume": null,
  "vm.shutdown": null,
  "vm.reboot": null,
  "vm.power-button": null,
  "vm.resize": { fields: { desired_vcpus: { min: 1 }, desired_ram: u64, desired_balloon: u64 } },
  "vm.remove-device": { required: ["id"], fields: { id: "string" } },
  "vm.add-disk": disk,
  "vm.add-net": net,
  "vm.add-fs": fs,
  "vm.add-device": device,
  "vm.add-pmem": pmem,
  "vm.add-vsock": vsock,
  "vm.snapshot": { required: ["destination_url"], fields: { destination_url: "string" } },
  "vm.restore": {
    required: ["source_url"],
    fields: {
      source_url: "string",
      prefault: "boolean",
      memory_restore_mode: { oneOf: ["Copy", "OnDemand"] },
      resume: "boolean",
    },
  },
};

/**
 * Returns why `value` is not a body of this shape (a message that names the field), or undefined.
 */
export function violation(value: unknown, type: Type, at = "body"): string | undefined {
  if (type === "string" || type === "boolean") {
    return typeof value === type ? undefined : `${at}: expected a ${type}, got ${JSON.stringify(value)}`;
  }
  if (type === "integer") return violation(value, { min: Number.MIN_SAFE_INTEGER }, at);
  if ("min" in type) {
    const { min, max = Number.MAX_SAFE_INTEGER } = type as { min: number; max?: number };
    const fits = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
    return fits ? undefined : `${at}: expected an integer of ${min}..${max}, got ${JSON.stringify(value)}`;
  }
  if ("oneOf" in type) {
    return type.oneOf.includes(value as string)
      ? undefined
      : `${at}: unknown variant ${JSON.stringify(value)}, expected one of ${type.oneOf.join(", ")}`;
  }
  if ("list" in type) {
    if (!Array.isArray(value)) return `${at}: expected a sequence, got ${JSON.stringify(value)}`;
    return first(value.map((item, index) => violation(item, type.list, `${at}[${index}]`)));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return `${at}: expected a map, got ${JSON.stringify(value)}`;
  }
  const shape = type as Shape;
  const missing = shape.required?.find((key) => !Object.hasOwn(value, key));
  if (missing) return `${at}: missing field \`${missing}\``;
  return first(
    Object.entries(value).map(([key, field]) => {
      const expected = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined;
      return expected ? violation(field, expected, `${at}.${key}`) : `${at}: unknown field \`${key}\``;
    }),
  );
}

function first(found: (string | undefined)[]): string | undefined {
  return found.find((message) => message !== undefined);
}
