/**
 * Converts the subset of Markdown that the manual pages and the configuration reference use to man(7): headings,
 * paragraphs, lists, code, and `term` lines with their `: definition`.
 */

/** The name and section of a page, such as `hull-config` and 5. */
export interface PageName {
  readonly name: string;
  readonly section: number;
}

type Block =
  | { readonly kind: "section" | "subsection" | "paragraph"; readonly text: string }
  | { readonly kind: "item"; readonly mark: string; readonly text: string }
  | { readonly kind: "definition"; readonly term: string; readonly text: string }
  | { readonly kind: "code"; readonly lines: readonly string[] };

/** Returns a page's source, without a date, so that builds are reproducible. */
export function roff({ name, section }: PageName, version: string, markdown: string): string {
  const title = `.TH ${code(name.toUpperCase())} ${section} "" "hull ${version}" "hull manual"`;
  const lines = [...blocks(markdown)].flatMap((block, index, all) => {
    const inList = block.kind === "item" && all[index - 1]?.kind === "item";
    return inList ? [".PD 0", ...render(block), ".PD"] : render(block);
  });
  return `${[title, ...lines].join("\n")}\n`;
}

function* blocks(markdown: string): Generator<Block> {
  const lines = markdown.replace(/<!--[\s\S]*?-->/g, "").split("\n");
  /** Returns the lines from `at` up to the first one for which `belongs` is false. */
  const take = (at: number, belongs: (line: string) => boolean): string[] => {
    const end = lines.findIndex((line, index) => index >= at && !belongs(line));
    return lines.slice(at, end === -1 ? undefined : end);
  };
  const continues = (line: string) => /^\s+\S/.test(line);
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] as string;
    const rest = () => take(at + 1, continues);
    const heading = /^(#+) (.*)$/.exec(line);
    const item = /^(-|\d+\.) (.*)$/.exec(line);
    const definition = /^: (.*)$/.exec(lines[at + 1] ?? "");
    if (line === "") at++;
    else if (heading) {
      // The title is in the page's header already.
      if (heading[1] !== "#")
        yield { kind: heading[1] === "##" ? "section" : "subsection", text: heading[2] ?? "" };
      at++;
    } else if (line.startsWith("```")) {
      const body = take(at + 1, (next) => next !== "```");
      yield { kind: "code", lines: body };
      at += body.length + 2;
    } else if (continues(line)) {
      const body = take(at, continues);
      yield { kind: "code", lines: body.map((text) => text.replace(/^ {4}/, "")) };
      at += body.length;
    } else if (item) {
      const more = rest();
      yield { kind: "item", mark: item[1] ?? "-", text: [item[2], ...more.map(trim)].join(" ") };
      at += 1 + more.length;
    } else if (definition) {
      const more = take(at + 2, continues);
      yield { kind: "definition", term: line, text: [definition[1], ...more.map(trim)].join(" ") };
      at += 2 + more.length;
    } else {
      const body = take(at, (next) => next !== "" && !/^(#|```|- |\d+\. )/.test(next));
      yield { kind: "paragraph", text: body.join(" ") };
      at += body.length;
    }
  }
}

function render(block: Block): string[] {
  switch (block.kind) {
    case "section":
      return [`.SH ${argument(block.text.replaceAll("`", "").toUpperCase())}`];
    case "subsection":
      return [`.SS ${argument(block.text.replaceAll("`", ""))}`];
    case "paragraph":
      return [".PP", prose(block.text)];
    case "item":
      return [block.mark === "-" ? ".IP \\(bu 2" : `.IP ${block.mark} 4`, prose(block.text)];
    case "definition":
      return [".TP", prose(block.term), prose(block.text)];
    case "code":
      return [".PP", ".RS 4", ".EX", ...block.lines.map((line) => protectedLine(code(line))), ".EE", ".RE"];
  }
}

const trim = (text: string): string => text.trim();

/** Renders text with `code`, **bold**, *italic* and [links](to). Targets of links are dropped. */
function prose(text: string): string {
  let at = 0;
  let out = "";
  for (const match of text.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\([^)]*\)/g)) {
    const [whole, literal, bold, italic, link = ""] = match;
    out += plain(text.slice(at, match.index));
    if (literal !== undefined) out += `\\fB${code(literal)}\\fR`;
    else if (bold !== undefined) out += `\\fB${plain(bold)}\\fR`;
    else if (italic !== undefined) out += `\\fI${plain(italic)}\\fR`;
    else out += plain(link);
    at = match.index + whole.length;
  }
  return protectedLine(out + plain(text.slice(at)));
}

/** Escapes backslashes, and characters outside ASCII, for any locale. */
const plain = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replace(
      /[^\n -~]/gu,
      (c) => `\\[u${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`,
    );

/** Escapes code so that hyphens and quotes stay ASCII and can be copied into a shell. */
const code = (text: string): string => plain(text).replace(/[-'`^~]/g, (c) => LITERAL[c] ?? c);
const LITERAL: Readonly<Record<string, string>> = {
  "-": "\\-",
  "'": "\\(aq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
};

/** Escapes a line that would be a request because it begins with a dot or an apostrophe. */
const protectedLine = (line: string): string => (/^[.']/.test(line) ? `\\&${line}` : line);

/** Quotes an argument of a macro. */
const argument = (text: string): string => `"${code(text).replaceAll('"', "\\(dq")}"`;
