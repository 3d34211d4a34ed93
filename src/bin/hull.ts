import { runCli } from "../cli/cli.ts";
import { installationOf } from "../host/installation.ts";

// A reader that closes the pipe early (`hull check | head`) is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

async function main(): Promise<void> {
  process.exitCode = await runCli(process.argv.slice(2), {
    env: process.env,
    installation: await installationOf(process.argv[1] ?? ""),
    cwd: process.cwd(),
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  });
}

void main();
