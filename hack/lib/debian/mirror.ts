import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const APT = "/etc/apt";

/** Returns the archive of a release from sources in deb822 format (sources.list(5)). */
export function mirrorInStanzas(text: string, release: string): string | undefined {
  for (const stanza of text.split(/^[ \t]*$/m)) {
    const field = (name: string) =>
      new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
    const [uri] = field("URIs");
    if (uri && field("Suites").includes(release) && field("Enabled")[0] !== "no") return uri;
  }
  return undefined;
}

/** Returns the archive of a release from sources in one-line format: `deb [options] URI SUITE COMPONENT...`. */
export function mirrorInLines(text: string, release: string): string | undefined {
  for (const line of text.split("\n")) {
    const [type, uri, suite] = line
      .replace(/\[[^\]]*\]/, "")
      .trim()
      .split(/\s+/);
    if (type === "deb" && suite === release) return uri;
  }
  return undefined;
}

/** Returns the code name of the machine's Debian release; undefined on other systems. */
function ownRelease(): string | undefined {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  if (!/^ID="?debian"?$/m.test(text)) return undefined;
  return /^VERSION_CODENAME="?([^"\n]+)/m.exec(text)?.[1];
}

/** Returns the first archive in the machine's apt sources for its own Debian release; undefined on other systems. */
export function machineMirror(): string | undefined {
  const release = ownRelease();
  if (release === undefined) return undefined;
  const listed = existsSync(join(APT, "sources.list.d"))
    ? readdirSync(join(APT, "sources.list.d")).sort()
    : [];
  const files = ["sources.list", ...listed.map((name) => join("sources.list.d", name))]
    .map((name) => join(APT, name))
    .filter((file) => existsSync(file));
  const find = (ending: string, search: typeof mirrorInLines) =>
    files
      .filter((file) => file.endsWith(ending))
      .map((file) => search(readFileSync(file, "utf8"), release))
      .find((uri) => uri !== undefined);
  return find(".sources", mirrorInStanzas) ?? find(".list", mirrorInLines);
}
