import { jsonSchema } from "./json-schema.ts";
import { reference } from "./reference.ts";
import { sample } from "./sample.ts";

/** Every committed file that is generated from the schema: its path in the repository, and its text. */
export const artifacts = (): ReadonlyMap<string, string> =>
  new Map([
    ["configs/hull.schema.json", schemaText()],
    ["configs/qemu.yaml", sample("qemu")],
    ["configs/cloud-hypervisor.yaml", sample("cloud-hypervisor")],
    ["docs/configuration.md", reference()],
  ]);

/** The JSON Schema as text, formatted as Biome does: lists on one line if they fit. */
export function schemaText(): string {
  const text = JSON.stringify(jsonSchema(), null, 2);
  const folded = text.replace(/^(.*)\[\n([^[\]{}]*?)\n\s*\](,?)$/gm, (whole, before, items, comma) => {
    const line = `${before}[${items.trim().replace(/,\n\s*/g, ", ")}]${comma}`;
    return line.length <= 110 ? line : whole;
  });
  return `${folded}\n`;
}
