import { dirname } from "node:path";

/** The directory that holds bin/, lib/, guest/ and configs/: this program lies in its lib/. */
export function installation(): string {
  return dirname(dirname(process.argv[1] ?? ""));
}
