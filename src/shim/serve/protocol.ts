import { readFile } from "node:fs/promises";
import { loadConfig } from "../../config/load.ts";
import { PodPaths } from "../bootstrap/pod-paths.ts";
import { decodeRecord } from "../bootstrap/record.ts";

/** Prints `shim.protocol` of the pod's configuration, for the launcher. */
export async function printProtocol(installation: string, namespace: string, id: string): Promise<void> {
  const record = decodeRecord(await readFile(new PodPaths(namespace, id).record, "utf8"));
  const { config } = await loadConfig({
    runtimeOptions: record.options,
    env: process.env,
    installation,
  });
  process.stdout.write(config.shim.protocol);
}
