import { resolve } from "node:path";
import { loadWith } from "../config/load.ts";
import { Deadline } from "../core/deadline.ts";
import { failedPrecondition } from "../core/errors.ts";
import { findProgram } from "../host/program.ts";
import type { VmSpec } from "../hypervisor/hypervisor.ts";
import { openHypervisor } from "../hypervisor/open.ts";
import { assignablePorts, machine, vmGrowth } from "../sandbox/boot/vm-spec.ts";
import { type TemplateStatus, TemplateStore } from "../template/store.ts";
import { canBeCloned, obtainTemplate } from "../template/template.ts";
import { type CliContext, EXIT } from "./context.ts";

interface TemplateOptions {
  /** Same as containerd's `ConfigPath`. */
  readonly file?: string;
  readonly json?: boolean;
}

async function load(context: CliContext, { file }: TemplateOptions) {
  const options = file === undefined ? {} : { configPath: resolve(context.cwd, file) };
  const loaded = await loadWith(options, { ...context, annotations: undefined });
  for (const warning of loaded.warnings) context.err(`warning: ${warning}\n`);
  return loaded.config;
}

/**
 * `hull template create`: builds the template for this configuration unless it exists. Returns the exit
 * status.
 */
export async function templateCreate(context: CliContext, options: TemplateOptions): Promise<number> {
  const config = await load(context, options);
  const { hypervisor, agent } = config;
  const { type, template: settings } = hypervisor;
  const warn = (message: string) => context.err(`warning: ${message}\n`);
  return await Deadline.within(agent.boot_timeout, "build a template", async (deadline) => {
    const places = { installation: context.installation, path: context.env.PATH };
    const path = await findProgram("hypervisor.path", hypervisor.path, places);
    const { driver, accel } = await openHypervisor(
      { ...hypervisor, path, installation: context.installation },
      { warn, info: () => undefined },
      deadline,
    );
    const spec: VmSpec = {
      ...machine(hypervisor, { path, accel }),
      ...{ name: "template", directory: settings.template_path, netns: undefined, vsock: undefined },
      ...{ shares: [], nics: [], disks: [], growth: vmGrowth(config) },
      assignable: await assignablePorts(hypervisor),
    };
    if (!canBeCloned(type, spec)) {
      throw failedPrecondition(
        `template: not supported for ${type} with machine type ${spec.machine}; use qemu with q35`,
      );
    }
    const log = () => undefined;
    const template = await obtainTemplate(driver, spec, { ...settings, wait: true }, { deadline, log, warn });
    context.out(`${template?.path}\n`);
    return EXIT.ok;
  });
}

/**
 * `hull template status`: lists all templates with size, age and use. The exit status is 1 if one is
 * unusable.
 */
export async function templateStatus(context: CliContext, options: TemplateOptions): Promise<number> {
  const { template_path, enable, max_size } = (await load(context, options)).hypervisor.template;
  const templates = await new TemplateStore(template_path).list();
  if (options.json) context.out(`${JSON.stringify(templates, undefined, 2)}\n`);
  else {
    context.out(`${template_path}: ${enable ? "pods start from templates" : "not used (template.enable)"}, `);
    context.out(`${mib(templates.reduce((sum, { bytes }) => sum + bytes, 0))} of ${max_size} MiB\n`);
    for (const template of templates) context.out(`${describe(template)}\n`);
  }
  return templates.every(({ manifest }) => manifest) ? EXIT.ok : EXIT.failed;
}

/** `hull template destroy`: removes all templates. Running pods are not affected. Returns the exit status. */
export async function templateDestroy(context: CliContext, options: TemplateOptions): Promise<number> {
  const { template_path } = (await load(context, options)).hypervisor.template;
  const store = new TemplateStore(template_path);
  for (const { key, bytes } of await store.list()) {
    await store.discard(key);
    context.out(`removed ${key} (${mib(bytes)} MiB)\n`);
  }
  return EXIT.ok;
}

function describe({ key, bytes, hits, manifest, problem }: TemplateStatus): string {
  if (!manifest) return `${key}  ${mib(bytes)} MiB  not usable: ${problem}`;
  const { facts, created, buildMs } = manifest;
  const age = Math.round((Date.now() - Date.parse(created)) / 1000);
  const vm = `${facts.hypervisor} ${facts.accel}, ${facts.vcpus} vCPU, ${facts.memoryMib} MiB`;
  return `${key}  ${mib(bytes)} MiB  ${age} s old  clones: ${hits}  built in ${buildMs} ms  ${vm}`;
}

const mib = (bytes: number) => Math.round(bytes / (1 << 20));
