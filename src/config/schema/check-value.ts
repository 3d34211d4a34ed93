import { formatDuration, parseDuration } from "./duration.ts";
import { defaultOf, type Key, type Value } from "./key.ts";
import { show } from "./problem.ts";
import { suggest } from "./suggest.ts";

/** A value that fits its key, or the rule that it breaks. `item` is the index of a list's wrong item. */
type Checked =
  | { readonly value: Exclude<Value, undefined> }
  | { readonly rule: string; readonly advice?: string | undefined; readonly item?: number };

/** Checks what was written for a key, and converts it to its value. Paths stay as they were written. */
export function checkValue(key: Key, written: unknown): Checked {
  if (written === null) return { rule: "has no value", advice: "set one or delete the line" };
  const checked = checkType(key, written);
  if ("rule" in checked) return checked;
  if (key.planned && !sameValue(checked.value, defaultOf(key, "qemu"))) {
    return { rule: "is not implemented yet", advice: "delete the line" };
  }
  return checked;
}

function checkType(key: Key, written: unknown): Checked {
  switch (key.kind) {
    case "boolean":
      if (typeof written === "boolean") return { value: written };
      return { rule: `must be true or false, not ${show(written)}`, advice: booleanAdvice(written) };
    case "integer": {
      const number = key.unit === undefined ? "a whole number" : `a whole number of ${key.unit}`;
      const rule = `must be ${number} from ${key.min} to ${key.max}, not ${show(written)}`;
      if (typeof written !== "number" || !Number.isSafeInteger(written)) {
        return { rule, advice: integerAdvice(key.unit, written) };
      }
      return written < key.min || written > key.max ? { rule } : { value: written };
    }
    case "duration":
      return checkDuration(key, written);
    case "string":
      if (typeof written !== "string")
        return { rule: `must be a string, not ${show(written)}`, advice: quote(written) };
      if (key.pattern && !key.pattern.test(written)) return { rule: `${key.rule}, not ${show(written)}` };
      return { value: written };
    case "path":
    case "program": {
      const what = key.kind === "path" ? "a path" : "a program's name or path";
      if (typeof written !== "string" || written === "" || written.includes("\0")) {
        return { rule: `must be ${what}, not ${show(written)}` };
      }
      if (written.startsWith("~")) {
        return {
          rule: `must be ${what}, not ${show(written)}`,
          advice: "write the full path: ~ is not expanded",
        };
      }
      return { value: written };
    }
    case "list":
      return checkList(key, written);
    case "choice":
      return checkChoice(key, written);
    case "choice-or-after":
      return checkChoiceOrAfter(key, written);
  }
}

function checkChoiceOrAfter(key: Extract<Key, { kind: "choice-or-after" }>, written: unknown): Checked {
  const or = " or {after: <duration>}";
  const rule = `must be one of ${key.choices.join(", ")}${or}, not ${show(written)}`;
  if (isMapping(written)) {
    const names = Object.keys(written);
    if (names.length !== 1 || names[0] !== "after") return { rule };
    const after = checkDuration(key, written.after);
    return "rule" in after
      ? { ...after, rule: `after ${after.rule}` }
      : { value: Object.freeze({ after: after.value as number }) };
  }
  if (typeof written === "string" && parseDuration(written) !== undefined) {
    return { rule, advice: `write {after: ${written}}` };
  }
  return checkChoice(key, written, or);
}

function checkDuration(range: { readonly min: number; readonly max: number }, written: unknown): Checked {
  const ms = typeof written === "string" ? parseDuration(written) : undefined;
  if (ms !== undefined && ms >= range.min && ms <= range.max) return { value: ms };
  return {
    rule: `must be a duration from ${formatDuration(range.min)} to ${formatDuration(range.max)}, not ${show(written)}`,
    advice:
      ms !== undefined
        ? undefined
        : typeof written === "number"
          ? `add the unit: ${written}s`
          : "write a whole number and its unit: ms, s, m or h",
  };
}

function checkList(key: Extract<Key, { kind: "list" }>, written: unknown): Checked {
  if (!Array.isArray(written)) {
    return {
      rule: `must be a list, not ${show(written)}`,
      advice: typeof written === "string" ? `write [${listOf(written)}]` : undefined,
    };
  }
  for (const [item, value] of written.entries()) {
    if (typeof value !== "string") {
      return {
        rule: `${article(key.item)} ${key.item} must be a string, not ${show(value)}`,
        advice: quote(value),
        item,
      };
    }
    if (key.pattern && !key.pattern.test(value)) {
      return { rule: `${article(key.item)} ${key.item} ${key.rule}, not ${show(value)}`, item };
    }
  }
  return { value: Object.freeze([...(written as string[])]) };
}

function checkChoice(key: { readonly choices: readonly string[] }, written: unknown, or = ""): Checked {
  if (typeof written !== "string" || !key.choices.includes(written)) {
    const similar = typeof written === "string" ? suggest(written, key.choices) : undefined;
    return {
      rule: `must be one of ${key.choices.join(", ")}${or}, not ${show(written)}`,
      advice: similar && `did you mean ${similar}?`,
    };
  }
  return { value: written };
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const sameValue = (a: Value, b: Value): boolean => JSON.stringify(a) === JSON.stringify(b);

const listOf = (text: string): string => text.trim().split(/\s+/).join(", ");

function quote(written: unknown): string | undefined {
  return typeof written === "number" || typeof written === "boolean"
    ? `put it in quotes: "${written}"`
    : undefined;
}

function booleanAdvice(written: unknown): string | undefined {
  const text = String(written).toLowerCase();
  if (["yes", "on", "1", "y", "true"].includes(text)) return "write true";
  if (["no", "off", "0", "n", "false"].includes(text)) return "write false";
  return undefined;
}

function integerAdvice(unit: string | undefined, written: unknown): string | undefined {
  if (typeof written !== "string") return undefined;
  const size = /^(\d+)\s*([kmgt])i?b?$/i.exec(written.trim());
  if (size && unit === "MiB") {
    const factor = { k: 1 / 1024, m: 1, g: 1024, t: 1024 * 1024 }[(size[2] ?? "m").toLowerCase()] ?? 1;
    return `write ${Math.ceil(Number(size[1]) * factor)}`;
  }
  return /^\d+$/.test(written) ? `write ${written}, without quotes` : undefined;
}

/** Returns the indefinite article of a noun. */
export const article = (noun: string): string => (/^[aeiou]/i.test(noun) ? "an" : "a");
