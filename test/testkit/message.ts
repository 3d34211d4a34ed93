/** A message of a generated codec: `fields`, and the defaults for what is missing. */
export function messageOf<T extends object>(codec: { decode(bytes: Uint8Array): T }, fields: Partial<T>): T {
  return { ...codec.decode(new Uint8Array()), ...fields };
}
