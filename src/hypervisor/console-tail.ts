import { lastLines } from "../host/ring-buffer.ts";

/** The last lines of the guest's console, as the end of an error message; empty if there are none. */
export function consoleTail(console: string, lines = 10): string {
  const tail = lastLines(console, lines);
  return tail === "" ? "" : `; the guest's last console lines:\n${tail}`;
}
