import { ratio, type Summary, summarize } from "./samples.ts";

/** A row of the table: measure, subject and result. */
export interface Row extends Summary {
  readonly measure: string;
  /** `runc`, `hull cold`, `hull template`, `QEMU` or `host`. */
  readonly subject: string;
  readonly unit: string;
  /** Ratio to the base of this measure (runc or the host); undefined for the base itself. */
  readonly ratio: number | undefined;
  readonly base: string | undefined;
}

/** A measure that could not be taken, and why. */
export interface Omission {
  readonly measure: string;
  readonly subject: string;
  readonly reason: string;
}

interface Series {
  readonly measure: string;
  readonly subject: string;
  readonly unit: string;
  readonly values: number[];
}

/** The base of comparison: the first one that was measured. */
const BASES = ["host", "runc", "QEMU", "hull cold"];

/** Collects measurements. */
export class Report {
  readonly #series: Series[] = [];
  readonly omissions: Omission[] = [];

  add(measure: string, subject: string, unit: string, ...values: number[]): void {
    let series = this.#series.find((one) => one.measure === measure && one.subject === subject);
    if (!series) {
      series = { measure, subject, unit, values: [] };
      this.#series.push(series);
    }
    series.values.push(...values);
  }

  omit(measure: string, subject: string, reason: string): void {
    this.omissions.push({ measure, subject, reason });
  }

  /** Returns the rows, grouped by measure, in the order of their first measurement. */
  rows(): Row[] {
    const measures = [...new Set(this.#series.map(({ measure }) => measure))];
    return measures.flatMap((measure) => {
      const all = this.#series.filter((one) => one.measure === measure && one.values.length > 0);
      const base = BASES.map((name) => all.find(({ subject }) => subject === name)).find((one) => one);
      return all.map(({ subject, unit, values }) => {
        const compared = base && base.subject !== subject && base.unit === unit ? base : undefined;
        return {
          measure,
          subject,
          unit,
          ...summarize(values),
          ratio: compared && ratio(values, compared.values),
          base: compared?.subject,
        };
      });
    });
  }
}
