import { invalidArgument } from "../../core/errors.ts";
import { shortened } from "../../core/shortened.ts";

/** Characters of a value in an error. */
const LONGEST_QUOTE = 200;

/** A parsed stdout or stderr value (containerd core/runtime/v2 README, "Logging"). */
type OutputUri =
  | { readonly kind: "none" }
  | { readonly kind: "fifo"; readonly path: string }
  | { readonly kind: "file"; readonly path: string }
  | {
      readonly kind: "logger";
      readonly path: string;
      readonly args: readonly string[];
      /** `binary-v2`: the logger must report that it is ready; closing the ready pipe is a failure. */
      readonly mustReport: boolean;
    };

/**
 * Parses a stdout or stderr value: empty, a FIFO's path, `fifo://`, `file://`, `binary://` or `binary-v2://`. Throws
 * InvalidArgument for another scheme or a relative path.
 */
export function parseOutputUri(value: string): OutputUri {
  if (value === "") return { kind: "none" };
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(value)?.[1]?.toLowerCase();
  if (scheme === undefined) return { kind: "fifo", path: absolute(value, value) };
  if (!value.startsWith("//", scheme.length + 1))
    throw invalidArgument(`stdio ${shortened(value, LONGEST_QUOTE)}: not a valid URI`);
  let url: URL;
  let decoded: string;
  try {
    url = new URL(value);
    decoded = decodeURIComponent(url.pathname);
  } catch {
    throw invalidArgument(`stdio ${shortened(value, LONGEST_QUOTE)}: not a valid URI`);
  }
  const path = absolute(decoded, value);
  switch (scheme) {
    case "fifo":
      return { kind: "fifo", path };
    case "file":
      return { kind: "file", path };
    case "binary":
    case "binary-v2":
      return { kind: "logger", path, args: loggerArguments(url), mustReport: scheme === "binary-v2" };
    default:
      throw invalidArgument(
        `stdio ${shortened(value, LONGEST_QUOTE)}: scheme ${shortened(scheme, LONGEST_QUOTE)} is not supported; use a FIFO's path, file://, binary:// or binary-v2://`,
      );
  }
}

function absolute(path: string, value: string): string {
  if (!path.startsWith("/") || path.includes("\0"))
    throw invalidArgument(`stdio ${shortened(value, LONGEST_QUOTE)}: the path is not absolute`);
  return path;
}

/** Returns each key of the query, followed by its first value. */
function loggerArguments(url: URL): string[] {
  const keys = new Set(url.searchParams.keys());
  return [...keys].flatMap((key) => [key, url.searchParams.get(key) ?? ""]);
}
