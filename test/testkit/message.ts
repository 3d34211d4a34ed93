/** Returns a message of a generated codec: `fields`, and defaults for the others. */
export function messageOf<T extends object>(codec: { decode(bytes: Uint8Array): T }, fields: Partial<T>): T {
  return { ...codec.decode(new Uint8Array()), ...fields };
}
