import { dirname } from "node:path";

/** The folder that holds bin/, lib/, guest/ and configs/: this program lies in its lib/. */
export function installation(): string {
  return dirname(dirname(process.argv[1] ?? ""));
}
