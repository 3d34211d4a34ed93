/** Whether `text` matches a pattern in which `*` stands for any characters but `separator`. Linear per star. */
export function matchesGlob(text: string, pattern: string, separator: string): boolean {
  let star = -1; // where the last * of the pattern stands
  let mark = 0; // up to where that * has eaten the text
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
