import { lastLines } from "../host/ring-buffer.ts";

/** The last lines of the guest's console, for the end of a message; empty where there are none. */
export function consoleTail(console: string, lines = 10): string {
  const words = lastLines(console, lines);
  return words === "" ? "" : `; the guest's last console lines:\n${words}`;
}
