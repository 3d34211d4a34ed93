import { CommanderError } from "commander";
import { HullError } from "../core/errors.ts";
import { commandTree } from "./command-tree.ts";
import { type CliContext, EXIT } from "./context.ts";

/** Runs the CLI with its arguments. Resolves to the exit status, never rejects. */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  let status: number = EXIT.ok;
  const program = commandTree(context, (exit) => {
    status = exit;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return status;
  } catch (thrown) {
    // commander has already printed its error, the help or the version.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    context.err(`hull: ${HullError.from(thrown).message}\n`);
    return EXIT.failed;
  }
}
