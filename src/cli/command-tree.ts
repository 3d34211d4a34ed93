import { Command, Option } from "commander";
import { VERSION } from "../core/version.ts";
import type { CliContext } from "./context.ts";

/** What every command gets: its context, and where to report its exit status. */
interface Outcome {
  readonly context: CliContext;
  readonly exit: (status: number) => void;
}

/** Returns hull's command tree. A command's module is loaded when it runs, because most runs need few. */
export function commandTree(context: CliContext, exit: (status: number) => void): Command {
  const program = new Command("hull")
    .description(
      "Inspect and operate hull, which runs every pod in its own lightweight virtual machine. Containers are managed through containerd, not with this command.",
    )
    .version(`hull ${VERSION}`, "-V, --version", "print the version")
    .configureOutput({
      writeOut: (text) => context.out(text),
      writeErr: (text) => context.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "hull: ")),
    })
    .exitOverride();
  const outcome = { context, exit };
  addConfigCommands(program, outcome);
  addTemplateCommands(program, outcome);
  addMachineCommands(program, outcome);
  addCompletion(program, outcome);
  return program;
}

/**
 * Adds a command. `summary` is for lists of commands; help and man page print it as a sentence, then
 * `details`.
 */
const command = (parent: Command, usage: string, summary: string, details = ""): Command =>
  parent
    .command(usage)
    .summary(summary)
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}. ${details}`.trim())
    .exitOverride()
    .copyInheritedSettings(parent);

const file = () => new Option("-f, --file <file>", "configuration file, as a runtime handler's ConfigPath");
const pod = () =>
  new Option("--pod <file>", "apply the annotations of a Kubernetes manifest or an OCI config.json");
const json = () => new Option("--json", "print JSON");

function addConfigCommands(program: Command, { context, exit }: Outcome): void {
  const config = command(program, "config", "inspect, validate and generate configuration files");
  const actions = () => import("./config-commands.ts");
  const add = (usage: string, summary: string, details?: string) => command(config, usage, summary, details);
  add(
    "paths",
    "list where a configuration is looked for, and which file is used",
    "The drop-ins that apply are listed below it.",
  )
    .addOption(file())
    .action(async (options) => exit(await (await actions()).configPaths(context, options)));
  add(
    "show",
    "print the effective configuration",
    "Without --file, prints what pods get if their runtime handler names no file.",
  )
    .addOption(file())
    .addOption(pod())
    .option("--origin", "show where each value was set")
    .option("--json", "print JSON, with durations in milliseconds")
    .action(async (options) => exit(await (await actions()).configShow(context, options)));
  add(
    "explain <key>",
    "explain a key: its meaning and value, where that was set, and what it overrides",
    "It also says whether pods may set the key by annotation.",
  )
    .addOption(file())
    .addOption(pod())
    .action(async (key, options) => exit(await (await actions()).configExplain(context, key, options)));
  add(
    "validate <file>",
    "check a configuration file",
    "Only this file is read, without drop-ins. Every error is printed with its line and column.",
  ).action(async (path) => exit(await (await actions()).configValidate(context, path)));
  add(
    "default",
    "print a commented sample configuration",
    "It lists every key with its default, commented out.",
  )
    .addOption(
      new Option("--hypervisor <type>", "hypervisor to configure")
        .choices(["qemu", "cloud-hypervisor"])
        .default("qemu"),
    )
    .action(async ({ hypervisor }) => exit((await actions()).configDefault(context, hypervisor)));
  add("schema", "print the configuration's JSON Schema, for editors").action(async () =>
    exit((await actions()).configSchema(context)),
  );
  add(
    "import-kata <file>",
    "convert a Kata Containers configuration.toml",
    "Prints the result, with the settings that have no counterpart in comments at its end and on standard error.",
  ).action(async (path) => exit(await (await actions()).configImportKata(context, path)));
}

function addTemplateCommands(program: Command, { context, exit }: Outcome): void {
  const template = command(
    program,
    "template",
    "manage the templates that pods are cloned from",
    "A template is a VM that was booted once and saved. Starting a pod as a clone of it is faster than booting.",
  );
  const actions = () => import("./template.ts");
  command(
    template,
    "create",
    "build the template for a configuration, unless it exists",
    "Without this command, the first pod builds it. Prints the template's directory.",
  )
    .addOption(file())
    .action(async (options) => exit(await (await actions()).templateCreate(context, options)));
  command(
    template,
    "status",
    "list all templates: size, age, number of clones",
    "The exit status is 1 if one of them cannot be used.",
  )
    .addOption(file())
    .addOption(json())
    .action(async (options) => exit(await (await actions()).templateStatus(context, options)));
  command(
    template,
    "destroy",
    "remove all templates",
    "Running pods are not affected. A pod that is just starting from a template is booted instead.",
  )
    .addOption(file())
    .action(async (options) => exit(await (await actions()).templateDestroy(context, options)));
}

function addMachineCommands(program: Command, { context, exit }: Outcome): void {
  command(
    program,
    "check",
    "check whether this machine can run pods",
    "Prints a line for each check, with advice. The exit status is 1 if a check fails.",
  )
    .addOption(file())
    .addOption(json())
    .action(async (options) => exit(await (await import("./check/check.ts")).check(context, options)));
  command(
    program,
    "env",
    "describe this machine for a bug report",
    "The output contains no host names, pods, or environment variables except PATH.",
  )
    .addOption(file())
    .addOption(json())
    .action(async (options) => exit(await (await import("./env.ts")).env(context, options)));
  command(program, "version", "print the version").action(() => context.out(`hull ${VERSION}\n`));
}

function addCompletion(program: Command, { context, exit }: Outcome): void {
  command(program, "completion", "print a completion script for a shell")
    .argument("<shell>", "bash, zsh or fish")
    .action(async (shell) => {
      const { completion } = await import("./completion.ts");
      context.out(completion(shell, commandTree(context, exit)));
    });
}
