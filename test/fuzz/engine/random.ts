/** Returns an integer from 0 to `below` - 1. */
export type Random = (below: number) => number;

/** Returns a small deterministic generator (xorshift32). */
export function randomOf(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % Math.max(1, below);
  };
}

export function pick<T>(list: readonly T[], random: Random): T {
  return list[random(list.length)] as T;
}
