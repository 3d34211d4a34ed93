import { Command, CommanderError, Option } from "commander";
import { HullError } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import { type CliContext, EXIT } from "./context.ts";

/** Runs the CLI with the words behind its name; resolves to the exit status, never rejects. */
export async function runCli(words: readonly string[], context: CliContext): Promise<number> {
  let status: number = EXIT.ok;
  const program = commandTree(context, (exit) => {
    status = exit;
  });
  try {
    await program.parseAsync([...words], { from: "user" });
    return status;
  } catch (thrown) {
    // commander has printed what it has to say, help and version included.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    context.err(`hull: ${HullError.from(thrown).message}\n`);
    return EXIT.failed;
  }
}

/** Every command. What a command does is loaded when it is run: most runs need little. */
export function commandTree(context: CliContext, exit: (status: number) => void): Command {
  const program = new Command("hull")
    .description(
      "hull runs every pod in a lightweight virtual machine of its own. This is its operator's tool.",
    )
    .version(`hull ${VERSION}`, "-V, --version")
    .configureOutput({ writeOut: (text) => context.out(text), writeErr: (text) => context.err(text) })
    .exitOverride();
  const command = (parent: Command, usage: string, about: string) =>
    parent.command(usage).description(about).exitOverride().copyInheritedSettings(parent);

  const config = command(program, "config", "look at, check and make configurations");
  const actions = () => import("./config-commands.ts");
  const file = () =>
    new Option("-f, --file <file>", "the configuration, as containerd's ConfigPath names it");
  const pod = () => new Option("--pod <file>", "a pod's manifest or config.json: apply its annotations");
  command(config, "paths", "every place a configuration is looked for, and which one counts")
    .addOption(file())
    .action(async (options) => exit(await (await actions()).configPaths(context, options)));
  command(config, "show", "the configuration in force")
    .addOption(file())
    .addOption(pod())
    .option("--origin", "say where each value came from")
    .option("--json", "as JSON; durations in milliseconds")
    .action(async (options) => exit(await (await actions()).configShow(context, options)));
  command(config, "explain <key>", "a key's value, where it came from, what it overrode, what it means")
    .addOption(file())
    .addOption(pod())
    .action(async (key, options) => exit(await (await actions()).configExplain(context, key, options)));
  command(config, "validate <file>", "check a configuration file").action(async (path) =>
    exit(await (await actions()).configValidate(context, path)),
  );
  command(config, "default", "a commented sample configuration")
    .addOption(
      new Option("--hypervisor <type>", "for which hypervisor")
        .choices(["qemu", "cloud-hypervisor"])
        .default("qemu"),
    )
    .action(async ({ hypervisor }) => exit((await actions()).configDefault(context, hypervisor)));
  command(config, "schema", "the JSON Schema of the configuration, for editors").action(async () =>
    exit((await actions()).configSchema(context)),
  );
  command(config, "import-kata <file>", "turn a Kata Containers configuration.toml into hull's").action(
    async (path) => exit(await (await actions()).configImportKata(context, path)),
  );

  const template = command(program, "template", "the booted VMs that pods are cloned from");
  const templates = () => import("./template.ts");
  command(template, "create", "make the template of this configuration, unless there is one")
    .addOption(file())
    .action(async (options) => exit(await (await templates()).templateCreate(context, options)));
  command(template, "status", "every template: size, age, clones made of it")
    .addOption(file())
    .option("--json", "as JSON")
    .action(async (options) => exit(await (await templates()).templateStatus(context, options)));
  command(template, "destroy", "remove all templates; running pods are not disturbed")
    .addOption(file())
    .action(async (options) => exit(await (await templates()).templateDestroy(context, options)));

  command(program, "check", "whether this machine can run pods; a line per check, with advice")
    .addOption(file())
    .option("--json", "as JSON")
    .action(async (options) => exit(await (await import("./check/check.ts")).check(context, options)));
  command(program, "env", "what a bug report should say about this machine")
    .addOption(file())
    .option("--json", "as JSON")
    .action(async (options) => exit(await (await import("./env.ts")).env(context, options)));
  command(program, "version", "the version of hull").action(() => {
    context.out(`hull ${VERSION}\n`);
  });
  command(program, "completion", "a completion script for a shell")
    .argument("<shell>", "bash, zsh or fish")
    .action(async (shell) => {
      const { completion } = await import("./completion.ts");
      context.out(completion(shell, commandTree(context, exit)));
    });
  return program;
}
