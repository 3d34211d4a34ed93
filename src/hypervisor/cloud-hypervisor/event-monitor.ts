import { LineSplitter } from "../../core/line-splitter.ts";
import { textOf } from "../../core/printable.ts";

/** One line of the VMM's own account of itself (`--event-monitor`). */
export interface VmmEvent {
  /** Who tells: `vmm`, `vm`, `guest`, `virtio-device`. */
  readonly source: string;
  /** What happened: `booted`, `paused`, `device-removed`, `rebooting`, `shutdown`, `panic` ... */
  readonly event: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** An event is a few hundred bytes; more than this is not one. */
const MAX_EVENT_CHARS = 64 * 1024;

/**
 * Takes the event monitor's stream apart: pretty-printed JSON objects, each followed by an empty line. The VMM
 * writes without blocking and drops what does not fit into the pipe, so a torn event is skipped (and counted),
 * not an error.
 */
export class EventDecoder {
  readonly #lines = new LineSplitter();
  #event = "";
  #skipped = 0;

  /** Events that could not be read so far. */
  get skipped(): number {
    return this.#skipped;
  }

  /** The events that `text` completes. */
  push(text: string): VmmEvent[] {
    const events: VmmEvent[] = [];
    for (const line of this.#lines.push(text)) {
      if (line !== "") {
        this.#event += `${line}\n`;
        continue;
      }
      const event = parse(this.#event);
      this.#event = "";
      if (event) events.push(event);
      else this.#skipped++;
    }
    if (this.#event.length + this.#lines.unfinished > MAX_EVENT_CHARS) {
      this.#event = "";
      this.#lines.clear();
      this.#skipped++;
    }
    return events;
  }
}

function parse(text: string): VmmEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { source, event, properties } = value as Record<string, unknown>;
  if (typeof source !== "string" || typeof event !== "string") return undefined;
  const pairs = typeof properties === "object" && properties !== null ? Object.entries(properties) : [];
  return {
    source,
    event,
    properties: Object.fromEntries(pairs.map(([key, entry]) => [key, textOf(entry)])),
  };
}
