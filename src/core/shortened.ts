/** Shortens text from a client for an error: at most `limit` characters, then `...`. */
export function shortened(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit)}...` : text;
}
