import { join } from "node:path";
import { internal } from "../../core/errors.ts";
import { defaultOf, type HypervisorType, type Key, type Section, type Value } from "../schema/key.ts";
import { ConfigError } from "../schema/problem.ts";
import { conflicts } from "../schema/rules.ts";
import { type Config, KEYS, SCHEMA } from "../schema/schema.ts";
import { layerOfAnnotations } from "./annotations.ts";
import type { Layer, Setting } from "./layer.ts";

/** A complete, checked configuration with the history of every value. Immutable. */
export class LoadedConfig {
  readonly config: Config;
  /** By full key name: the value in force first, then what it overrode, the default last. */
  readonly history: ReadonlyMap<string, readonly Setting[]>;
  /** What the operator should know although the configuration is accepted. */
  readonly warnings: readonly string[];
  readonly #layers: readonly Layer[];

  private constructor(
    layers: readonly Layer[],
    /** The files (or `config_body`) that were read, in the order in which they apply. */
    readonly sources: readonly string[],
    readonly installation: string,
  ) {
    this.#layers = layers;
    this.history = historyOf(layers, installation);
    this.config = treeOf(SCHEMA, "", this.history) as Config;
    this.warnings = layers.flatMap((layer) => layer.warnings);
  }

  /**
   * Combines layers, of which later ones override earlier ones: mappings merge key by key, a list replaces a list.
   * Throws a ConfigError with every problem of every layer, or with every combination that cannot work.
   */
  static of(layers: readonly Layer[], sources: readonly string[], installation: string): LoadedConfig {
    const problems = layers.flatMap((layer) => layer.problems);
    if (problems.length > 0) throw new ConfigError(problems);
    const loaded = new LoadedConfig(layers, sources, installation);
    const impossible = conflicts(loaded.config).map(({ key, rule, advice }) => {
      const { origin } = loaded.inForce(key);
      const source = origin.kind === "annotation" ? `annotation ${origin.source}` : origin.source;
      return { source, position: origin.position, key, rule, advice };
    });
    if (impossible.length > 0) throw new ConfigError(impossible);
    return loaded;
  }

  /** Returns the setting of a key that is in force. */
  inForce(key: string): Setting {
    const setting = this.history.get(key)?.[0];
    if (!setting) throw internal(`configuration: unknown key ${key}`);
    return setting;
  }

  /** Returns this configuration with the annotations `io.hull.config.*` applied. Throws ConfigError. */
  withAnnotations(annotations: Readonly<Record<string, string>>): LoadedConfig {
    const layer = layerOfAnnotations(annotations, this.config);
    if (layer.settings.size === 0 && layer.problems.length === 0) return this;
    return LoadedConfig.of([...this.#layers, layer], this.sources, this.installation);
  }
}

function historyOf(layers: readonly Layer[], installation: string): Map<string, Setting[]> {
  const history = new Map<string, Setting[]>();
  const given = (name: string) =>
    layers.map((layer) => layer.settings.get(name)).filter((s) => s !== undefined);
  const type = (given("hypervisor.type").at(-1)?.value ?? "qemu") as HypervisorType;
  for (const [name, key] of KEYS) {
    const fallback: Setting = {
      value: defaultValue(key, type, installation),
      origin: { kind: "default", source: "default" },
    };
    history.set(name, [...given(name).reverse(), fallback]);
  }
  return history;
}

function defaultValue(key: Key, type: HypervisorType, installation: string): Value {
  const value = defaultOf(key, type);
  return key.kind === "path" && key.relative ? join(installation, String(value)) : value;
}

function treeOf(node: Section, prefix: string, history: ReadonlyMap<string, readonly Setting[]>): unknown {
  const tree: Record<string, unknown> = {};
  for (const [name, child] of Object.entries(node.keys)) {
    tree[name] =
      child.kind === "section"
        ? treeOf(child, `${prefix}${name}.`, history)
        : history.get(prefix + name)?.[0]?.value;
  }
  return Object.freeze(tree);
}
