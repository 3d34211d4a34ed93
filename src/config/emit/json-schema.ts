import { defaultOf, type Key, type Section, type Value } from "../schema/key.ts";
import { CONFIG_VERSION, SCHEMA } from "../schema/schema.ts";
import { writtenValue } from "./describe.ts";

type Json = { [name: string]: unknown };

const DURATION = "^[0-9]{1,9}(ms|s|m|h)$";

/** The JSON Schema (draft 7, which YAML editors understand) of a configuration file. */
export function jsonSchema(): Json {
  const { properties, ...rest } = sectionSchema(SCHEMA) as { properties: Json };
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "hull configuration",
    ...rest,
    type: "object",
    required: ["version"],
    properties: {
      version: { const: CONFIG_VERSION, description: "The version of this format." },
      ...properties,
    },
  };
}

function sectionSchema(node: Section): Json {
  const properties: Json = {};
  for (const [name, child] of Object.entries(node.keys)) {
    properties[name] = child.kind === "section" ? sectionSchema(child) : keySchema(child);
  }
  return {
    ...(node.about && { description: node.about }),
    type: ["object", "null"], // null: a section whose lines are all commented out
    additionalProperties: false,
    properties,
  };
}

function keySchema(key: Key): Json {
  const notes = [key.about];
  if (key.planned) notes.push("Not implemented yet.");
  if (key.retired) notes.push(`Retired since ${key.retired.since}: ${key.retired.instead}`);
  const value = defaultOf(key, "qemu");
  return {
    description: notes.join(" "),
    ...(key.retired && { deprecated: true }),
    ...(value !== undefined && { default: jsonValue(key, value) }),
    ...(key.planned ? plannedSchema(key, value) : valueSchema(key)),
  };
}

/** A planned key may only be set to its default. */
function plannedSchema(key: Key, value: Value): Json {
  return value === undefined ? { not: {} } : { const: jsonValue(key, value) };
}

function valueSchema(key: Key): Json {
  switch (key.kind) {
    case "boolean":
      return { type: "boolean" };
    case "integer":
      return { type: "integer", minimum: key.min, maximum: key.max };
    case "duration":
      return { type: "string", pattern: DURATION };
    case "choice":
      return { enum: key.choices };
    case "choice-or-after":
      return {
        oneOf: [
          { enum: key.choices },
          {
            type: "object",
            required: ["after"],
            additionalProperties: false,
            properties: { after: { type: "string", pattern: DURATION } },
          },
        ],
      };
    case "list":
      return {
        type: "array",
        items: { type: "string", ...(key.pattern && { pattern: key.pattern.source }) },
      };
    case "string":
      return { type: "string", ...(key.pattern && { pattern: key.pattern.source }) };
    case "path":
    case "program":
      return { type: "string", minLength: 1 };
  }
}

function jsonValue(key: Key, value: Value): unknown {
  return key.kind === "duration" ? writtenValue(key, value) : value;
}
