/** The command line of hack/lab. */
import { down, runInside, up } from "./lab.ts";
import { type Command, parseCommand, USAGE } from "./options.ts";

/** Variables of the caller that a command in the lab has, too, besides hull's own. */
const PASSED_ON = ["PATH", "HOME", "LANG", "TERM", "XDG_CACHE_HOME", "CC"];

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Returns a shell command that runs `argv` in the caller's directory, with its environment. */
function inCallersPlace(argv: readonly string[]): string {
  const variables = Object.entries(process.env)
    .filter(([name]) => PASSED_ON.includes(name) || (name.startsWith("HULL_") && name !== "HULL_LAB_DIR"))
    .map(([name, value]) => quoted(`${name}=${value}`));
  return `cd ${quoted(process.cwd())} && exec env ${[...variables, ...argv.map(quoted)].join(" ")}`;
}

async function perform(command: Command): Promise<number> {
  switch (command.action) {
    case "help":
      console.log(USAGE);
      return 0;
    case "up":
      await up(command.host);
      return 0;
    case "down":
      await down();
      return 0;
    case "run":
      return runInside(inCallersPlace(command.argv), false);
    case "shell":
      return runInside(inCallersPlace(["bash"]), true);
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
