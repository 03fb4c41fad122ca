import type { Server } from './server.js';

/** The context of a benchmark. */
export interface Stage {
  readonly server: Server;
  /** A new folder for files. */
  readonly folder: string;
  /** True for fewer rows and rounds. */
  readonly isShort: boolean;
  /** True if `psql` is on the PATH. Otherwise benchmarks that compare with `psql` return no rows. */
  readonly hasPsql: boolean;
  /** Prints a line about the progress. */
  readonly say: (text: string) => void;
}

/** One row of the table. */
export interface Row {
  readonly work: string;
  /** The program that the work is compared with. Undefined if the figure is no comparison. */
  readonly reference: string | undefined;
  /** A ratio, or a figure with its unit. */
  readonly figure: string;
  /** The lower and the upper quartile of the ratio over the rounds. */
  readonly spread: string;
  /** The largest allowed figure and peak. */
  readonly limit: string;
  readonly isMet: boolean;
  /** The median times of our program and of the reference. */
  readonly times: string;
  /** The largest resident set of our process, in MiB. */
  readonly peakMb: number | undefined;
}

/** A benchmark. Each returns some rows of the table. */
export interface Benchmark {
  readonly name: string;
  run(stage: Stage): Promise<readonly Row[]>;
}
