/**
 * What a check found, but for what is known and to be mended: a list of those may only become shorter, so one that is mended
 * has to leave it.
 */
export function unknown(found: readonly string[], known: readonly string[], list: string): string[] {
  const mended = known.filter((name) => !found.includes(name));
  return [
    ...found.filter((name) => !known.includes(name)),
    ...mended.map((name) => `mended, remove it from ${list}: ${name}`),
  ];
}
