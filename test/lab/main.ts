/** The command line of hack/lab. */
import { asCaller } from "./caller.ts";
import { down, reboot, up } from "./lab.ts";
import { runInside } from "./login.ts";
import { type Command, parseCommand, USAGE } from "./options.ts";

async function perform(command: Command): Promise<number> {
  switch (command.action) {
    case "help":
      console.log(USAGE);
      return 0;
    case "up":
      await up(command.host);
      return 0;
    case "reboot":
      await reboot();
      return 0;
    case "down":
      await down();
      return 0;
    case "run":
      return runInside(asCaller(command.argv), false);
    case "shell":
      return runInside(asCaller(["bash"]), true);
  }
}

async function main(): Promise<void> {
  try {
    process.exitCode = await perform(parseCommand(process.argv.slice(2)));
  } catch (error) {
    console.error(`hack/lab: ${(error as Error).message}`);
    process.exitCode = 2;
  }
}

void main();
