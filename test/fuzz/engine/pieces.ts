import { LONGEST } from "./target.ts";

/**
 * Splits `bytes` into pieces, as a stream may deliver them; the sizes depend on the bytes. A long input
 * (pump.ts) comes byte by byte, so that code that rescans everything for each piece is found by its time.
 */
export function piecesOf(bytes: Uint8Array): Uint8Array[] {
  const size = bytes.length > LONGEST ? 1 : 1 + (bytes.reduce((sum, byte) => sum + byte, bytes.length) % 211);
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) found.push(bytes.subarray(at, at + size));
  return found;
}
