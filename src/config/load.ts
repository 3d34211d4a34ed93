import { parseText } from "./parse/parse-text.ts";
import { decodeRuntimeOptions, type OptionsAny, type RuntimeOptions } from "./parse/runtime-options.ts";
import { findSources, type Places, type SourceText } from "./parse/sources.ts";
import { type Layer, layerOf } from "./result/layer.ts";
import { LoadedConfig } from "./result/loaded-config.ts";

/** What a pod's configuration is loaded from. */
export interface LoadRequest extends Places {
  /** The options that containerd passed: `start`'s stdin, or Create's options. */
  readonly runtimeOptions?: OptionsAny | undefined;
  /** The annotations of the pod; all but `io.hull.config.*` are ignored. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** The directory for parsed files (see document-cache.ts); without it every file is parsed each time. */
  readonly cache?: string | undefined;
}

/**
 * Loads the configuration of a pod: the runtime options' `config_path` or `config_body`, else `HULL_CONFIG`, else
 * `/etc/hull/config.yaml`, else `/usr/share/defaults/hull/config.yaml`, else the installation's own; drop-ins
 * `config.d/*.yaml` next to that file; then annotations. Rejects with a ConfigError that lists every problem. Creates
 * nothing but cache entries.
 */
export async function loadConfig(request: LoadRequest): Promise<LoadedConfig> {
  return await loadWith(decodeRuntimeOptions(request.runtimeOptions), request);
}

/** Like `loadConfig`, for options that are already decoded. */
export async function loadWith(
  options: RuntimeOptions,
  request: Omit<LoadRequest, "runtimeOptions">,
): Promise<LoadedConfig> {
  const foreign = await isForeign(options);
  const sources = await findSources(foreign ? {} : options, request);
  const layers = await Promise.all(sources.map((source) => readLayer(source, request.cache)));
  if (foreign) layers.unshift(note("the runtime options contain no hull configuration and are ignored"));
  const names = sources.map(({ source }) => source);
  const loaded = LoadedConfig.of(layers, names, request.installation);
  return request.annotations ? loaded.withAnnotations(request.annotations) : loaded;
}

/** Reads the layer of one source, from the cache if possible. Only texts without problems are cached. */
async function readLayer(source: SourceText, cache: string | undefined): Promise<Layer> {
  if (cache === undefined) return layerOf(await parseText(source), source);
  const { readCached, writeCached } = await import("./parse/document-cache.ts");
  const cached = await readCached(cache, source.text);
  if (cached) return layerOf(cached, source);
  const document = await parseText(source);
  const layer = layerOf(document, source);
  if (layer.problems.length === 0) await writeCached(cache, source.text, document);
  return layer;
}

/** The body of the options may be a table that was meant for another runtime. */
async function isForeign({ configPath, configBody }: RuntimeOptions): Promise<boolean> {
  if (configPath !== undefined || configBody === undefined) return false;
  const { isForeignTable } = await import("./parse/toml-body.ts");
  return isForeignTable(configBody);
}

const note = (warning: string): Layer => ({ settings: new Map(), problems: [], warnings: [warning] });

export type { LoadedConfig } from "./result/loaded-config.ts";
