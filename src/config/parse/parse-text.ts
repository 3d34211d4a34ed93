import type { ParsedDocument } from "./parsed-document.ts";
import type { SourceText } from "./sources.ts";

/** Parses YAML or, from runtime options, TOML. Each parser is loaded on first use. */
export async function parseText({ kind, text, source }: SourceText): Promise<ParsedDocument> {
  if (kind === "options") {
    const { isToml, parseToml } = await import("./toml-body.ts");
    if (isToml(text)) return parseToml(text, source);
  }
  const { parseYaml } = await import("./yaml-document.ts");
  return parseYaml(text, source);
}
