import { dirname } from "node:path";

/**
 * The daemon, which only the launcher starts: `daemon` serves a pod, `cleanup` releases a dead daemon's pod,
 * and `--keep-code` loads the daemon's modules and exits, for the build (shim.ts).
 */
async function main(): Promise<void> {
  const [action, ...flags] = process.argv.slice(2);
  const namespace = flags[flags.indexOf("-namespace") + 1] ?? "";
  const id = flags[flags.indexOf("-id") + 1] ?? "";
  // This program is in lib/ of the installation.
  const installation = dirname(dirname(process.argv[1] ?? ""));
  if (action === "daemon") {
    const { Daemon } = await import("../shim/daemon.ts");
    await Daemon.start(installation, namespace, id);
  } else if (action === "cleanup") {
    const { cleanUp } = await import("../shim/cleanup-action.ts");
    await cleanUp(installation, namespace, id);
  } else if (action === "--keep-code") {
    await import("../shim/daemon.ts");
  } else if (action === "protocol") {
    const { printProtocol } = await import("../shim/serve/protocol.ts");
    await printProtocol(installation, namespace, id);
  } else {
    throw new Error(
      `unknown action ${JSON.stringify(action)}: this program is started by containerd-shim-hull-v2`,
    );
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`hull-shim: ${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});
