import { LONGEST } from "./target.ts";

/**
 * `bytes` cut into pieces, as a stream may bring them; other bytes are cut in another way. Those of a long input (pump.ts) come one
 * by one: what looks at all of them again with each is found by its time.
 */
export function piecesOf(bytes: Uint8Array): Uint8Array[] {
  const size = bytes.length > LONGEST ? 1 : 1 + (bytes.reduce((sum, byte) => sum + byte, bytes.length) % 211);
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) found.push(bytes.subarray(at, at + size));
  return found;
}
