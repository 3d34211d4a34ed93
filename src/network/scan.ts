import type { Deadline } from "../core/deadline.ts";
import { HullError } from "../core/errors.ts";
import { runInNetns } from "./in-netns.ts";
import { type IpAnswers, parseIpAnswers, SCAN_BATCH } from "./ip-json.ts";

/** Reads interfaces, addresses, routes and permanent neighbours of a namespace with one start of `ip`. */
export async function scanNetns(netns: string, deadline: Deadline): Promise<IpAnswers> {
  try {
    const script = `printf %s "$1" | ip -json -details -batch -`;
    return parseIpAnswers(await runInNetns(netns, ["sh", "-c", script, "sh", SCAN_BATCH], deadline));
  } catch (error) {
    throw HullError.wrap(`network namespace ${netns}: read its interfaces`, error);
  }
}
