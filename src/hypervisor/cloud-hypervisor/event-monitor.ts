import { LineSplitter } from "../../core/line-splitter.ts";
import { textOf } from "../../core/printable.ts";

/** An event of the VMM's event stream (`--event-monitor`). */
export interface VmmEvent {
  /** `vmm`, `vm`, `guest`, `virtio-device`. */
  readonly source: string;
  /** `booted`, `paused`, `device-removed`, `rebooting`, `shutdown`, `panic` ... */
  readonly event: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** Real events have a few hundred bytes. */
const MAX_EVENT_CHARS = 64 * 1024;

/**
 * Decodes the event stream: pretty-printed JSON objects, each followed by an empty line. The VMM does not block on
 * writes and drops what does not fit into the pipe, so incomplete events are skipped and counted.
 */
export class EventDecoder {
  readonly #lines = new LineSplitter();
  #event = "";
  #skipped = 0;

  /** The number of events that could not be decoded. */
  get skipped(): number {
    return this.#skipped;
  }

  /** Returns the events that `text` completes. */
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
