import type { Command, Option } from "commander";
import { commandTree } from "../../../src/cli/command-tree.ts";

/** Returns hull(1), with the commands and options that `hull --help` lists. */
export function hullPage(): string {
  const print = () => undefined;
  const program = commandTree({ env: {}, installation: "", cwd: "/", out: print, err: print }, print);
  return `## Name

hull - inspect and operate hull, the VM sandbox runtime for containerd

## Synopsis

\`hull\` *command* [*option*]... [*argument*]...

## Description

${program.description()}

The commands read the same configuration as the runtime, from the same places; see **hull-config**(5).

## Options

${definitions(program.options)}

\`-h\`, \`--help\`
: Print help for a command and exit. Every command has this option.

## Commands

${[...commandsOf(program, "hull")].join("\n\n")}

## Exit status

\`0\`
: The command succeeded and found no problem.

\`1\`
: The command failed, or \`hull check\` or \`hull template status\` found a problem.

\`2\`
: The command line is invalid.

## Environment

\`HULL_CONFIG\`
: Configuration file to use without \`--file\`. (The runtime reads this variable from containerd's environment.)

\`PATH\`
: Where \`hull check\` looks for the tools that pods need.

## Examples

Check what is missing on this host, and collect the facts for a bug report:

    hull check
    hull env --json

Find out where a value was set, and which values a pod's annotations result in:

    hull config explain hypervisor.default_memory
    hull config show --origin --pod pod.yaml

Validate a configuration before using it:

    hull config default > /etc/hull/config.yaml
    hull config validate /etc/hull/config.yaml

Enable completion in bash:

    source <(hull completion bash)

## See also

**hull-config**(5), **containerd-shim-hull-v2**(8), **ctr**(8)
`;
}

/** Yields a section for each command, with subcommands after their parent. */
function* commandsOf(command: Command, name: string): Generator<string> {
  for (const child of command.commands) {
    const fullName = [name, child.name()].join(" ");
    const parameters = child.registeredArguments.map((argument) => `<${argument.name()}>`);
    const options = child.options.length > 0 ? ["[options]"] : [];
    const usage = child.commands.length > 0 ? ["<command>"] : [...options, ...parameters];
    yield [
      `### ${[fullName, ...usage].join(" ")}`,
      flagsMarked(child.description()),
      definitions(child.options),
    ]
      .filter((text) => text !== "")
      .join("\n\n");
    yield* commandsOf(child, fullName);
  }
}

function definitions(options: readonly Option[]): string {
  return options
    .map((option) => {
      const flags = flagsMarked(option.flags).replace(/<(\w+)>/, "*$1*");
      const choices = option.argChoices ? ` One of ${option.argChoices.join(", ")}.` : "";
      const preset = option.defaultValue === undefined ? "" : ` Default: ${option.defaultValue}.`;
      return `${flags}\n: ${capital(option.description)}.${choices}${preset}`;
    })
    .join("\n\n");
}

/** Marks the options in a text as code. */
const flagsMarked = (text: string): string => text.replace(/(?<![\w-])--?[a-zA-Z][-\w]*/g, "`$&`");

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
