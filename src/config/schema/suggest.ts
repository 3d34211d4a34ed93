/** The number of single-character edits (insert, delete, replace, swap of neighbours) between two words. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** Returns the candidate most similar to what was written; undefined if none is similar enough. */
export function suggest(written: string, candidates: Iterable<string>): string | undefined {
  if (written.length > 64) return undefined;
  const all = [...candidates];
  const lower = written.toLowerCase();
  const abbreviated = all.find((word) => Math.min(word.length, lower.length) >= 3 && isPrefix(word, lower));
  let best = abbreviated;
  // Next to an abbreviation, only a typo counts.
  let limit = (abbreviated === undefined ? Math.max(1, Math.floor(written.length / 3)) : 1) + 1;
  for (const candidate of all) {
    const distance = editDistance(lower, candidate);
    if (distance < limit) {
      best = candidate;
      limit = distance;
    }
  }
  return best;
}

const isPrefix = (a: string, b: string): boolean => a.startsWith(b) || b.startsWith(a);
