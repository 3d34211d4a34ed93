/** Whether `text` matches a pattern in which `*` matches any characters but `separator`. Linear time for each `*`. */
export function matchesGlob(text: string, pattern: string, separator: string): boolean {
  let star = -1; // position of the last * in the pattern
  let mark = 0; // how far that * matches the text
  let p = 0;
  let t = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      star = p++;
      mark = t;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star >= 0 && text[mark] !== separator) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
