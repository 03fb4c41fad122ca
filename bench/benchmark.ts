import type { Server } from './server.js';

/** What a benchmark works with. */
export interface Stage {
  readonly server: Server;
  /** A new folder for files. */
  readonly folder: string;
  /** Fewer rows and rounds. */
  readonly isShort: boolean;
  /** Whether `psql` is on the PATH; rows that compare with it are left out otherwise. */
  readonly hasPsql: boolean;
  readonly say: (text: string) => void;
}

/** One row of the table. */
export interface Row {
  readonly work: string;
  /** What it is compared with; undefined: `figure` stands for itself. */
  readonly reference: string | undefined;
  /** As a text: a ratio, or a figure with its unit. */
  readonly figure: string;
  /** The quartiles of the ratio over the rounds. */
  readonly spread: string;
  readonly bar: string;
  readonly isMet: boolean;
  /** `ours / reference`, medians. */
  readonly times: string;
  /** Of our process. */
  readonly peakMb: number | undefined;
}

/** One file of this folder. */
export interface Benchmark {
  readonly name: string;
  run(stage: Stage): Promise<readonly Row[]>;
}
