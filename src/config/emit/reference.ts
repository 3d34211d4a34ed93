import { ANNOTATION_PREFIX } from "../result/annotations.ts";
import type { Key, Section } from "../schema/key.ts";
import { SCHEMA } from "../schema/schema.ts";
import { typeOf, writtenDefault } from "./describe.ts";

const INTRODUCTION = `# Configuration

<!-- Generated from the schema in src/config by hack/generate-config. Do not edit. -->

One YAML file configures everything about a pod's virtual machine. A node can have several runtime handlers, each with
its own file.

## Sources

hull uses the first of these that exists:

1. the file that containerd passes in the runtime's options (\`ConfigPath\`; \`ctr run --runtime-config-path\`), or the
   configuration in those options itself;
2. the file that \`HULL_CONFIG\` names in containerd's environment;
3. \`/etc/hull/config.yaml\`;
4. \`/usr/share/defaults/hull/config.yaml\`;
5. \`configs/qemu.yaml\` of the installation.

A file that is named explicitly (1 and 2) must exist. These are applied on top of the file, later ones overriding earlier ones:

- the drop-ins \`config.d/*.yaml\` in the file's directory, in the order of their names; handlers whose files share a
  directory share its drop-ins;
- the pod's annotations \`${ANNOTATION_PREFIX}<key>\`, if they are allowed.

Mappings are merged key by key; a list replaces the earlier list. \`hull config show --origin\` and \`hull config explain KEY\` show
where each value was set and what it overrides.

### In containerd's own configuration

With containerd 1.7 and newer, the configuration can be in the handler's \`options\` table instead of a file:

\`\`\`toml
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hull.options]
  version = 1
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hull.options.hypervisor]
    default_memory = 512
\`\`\`

It replaces the file: no other file and no drop-in is read, and its paths must be absolute. A table that contains
none of hull's sections (for example one left over from another runtime) is ignored with a warning. Options of another
runtime's type are refused; runc's are ignored, because containerd sends them with some pods to every runtime.

## Rules

- The file starts with \`version: 1\` and is one YAML 1.2 document of at most 64 KiB, without anchors, aliases or tags.
- It is a regular file, owned by root (or the user that hull runs as), to which no other user can write.
- Unknown keys, wrong types, values out of range and combinations that cannot work are refused before anything is created
  for the pod. All of them are reported at once, with file, line and column.
- Durations are whole numbers with a unit: \`500ms\`, \`10s\`, \`2m\`, \`1h\`.
- A key marked "not implemented yet" is refused unless it is set to its default.

## Annotations

A pod may set a key with the annotation \`${ANNOTATION_PREFIX}<key>\` if the key's entry below allows it *and*
\`runtime.enable_annotations\` lists it; nothing is listed by default. Keys that take a path need a pattern in
\`runtime.annotation_paths\` as well. Lists are written as words separated by spaces or as a JSON array. containerd must
pass on the annotations (\`pod_annotations = ["io.hull.config.*"]\` in the handler). A pod with an annotation that is not
allowed does not start.
`;

/** The reference page of the configuration, in Markdown. */
export function reference(): string {
  return `${INTRODUCTION}\n${Object.entries(SCHEMA.keys)
    .map(([name, node]) => sectionPage(node, name, 2))
    .join("\n")}`;
}

function sectionPage(node: Section, name: string, level: number): string {
  const lines = [`${"#".repeat(level)} ${name}`, "", node.about, ""];
  for (const [child, key] of Object.entries(node.keys)) {
    const full = `${name}.${child}`;
    lines.push(key.kind === "section" ? sectionPage(key, full, 3).trimEnd() : keyPage(key, full), "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function keyPage(key: Key, name: string): string {
  const facts = [
    ["Type", typeOf(key)],
    ["Default", defaults(key)],
    ...(key.example ? [["Example", `\`${key.example}\``]] : []),
    ["Since", key.since],
    ["By annotation", key.annotation ? "can be allowed" : "never"],
    ...(key.planned ? [["Status", "not implemented yet"]] : []),
    ...(key.retired
      ? [
          [
            "Status",
            `retired since ${key.retired.since}, refused after ${key.retired.until}: ${key.retired.instead}`,
          ],
        ]
      : []),
  ];
  return [`### \`${name}\``, "", key.about, "", ...facts.map(([what, text]) => `- ${what}: ${text}`)].join(
    "\n",
  );
}

function defaults(key: Key): string {
  if (key.kind === "path" && key.relative) return `\`${key.default}\` in the installation`;
  const text = `\`${writtenDefault(key, "qemu") ?? "not set"}\``;
  const others = Object.keys(key.defaultFor ?? {}).map((type) => {
    return ` (\`${writtenDefault(key, type as "qemu" | "cloud-hypervisor")}\` for ${type})`;
  });
  return key.default === undefined ? "not set" : text + others.join("");
}
