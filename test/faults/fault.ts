import type { Product } from './product.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

/** The context of one shard: a part of the injections of a fault. */
export interface Shard {
  /** The random numbers of this shard. The same seed gives the same numbers, whatever runs at the same time. */
  readonly random: Random;
  readonly tally: Tally;
  readonly product: Product;
  /** True for the first shard of the first round. Work that is done once, such as a soak, belongs here. */
  readonly isFirst: boolean;
  readonly nightly: boolean;
  /** Returns true if the time is over: then the shard starts no new run. */
  isOver(): boolean;
}

/** A kind of fault, with the code that injects the fault. */
export interface Fault {
  /** The ID in the table, such as `F1`. */
  readonly id: string;
  readonly title: string;
  /** True for a control: a program that is wrong on purpose. The suite must find the control guilty. */
  readonly control?: true;
  /** True if other shards would disturb the measurement: then no other shard runs at the same time. */
  readonly runsAlone?: true;
  /**
   * The approximate time of a shard, for a long shard. The longest shards start first, so that the suite does not wait
   * for them at the end.
   */
  readonly seconds?: number;
  /** The number of shards, which can run at the same time. Default: 1. */
  readonly shards?: number;
  /** Injects the fault and counts the results in the shard's tally. */
  run(shard: Shard): Promise<void>;
  /** Judges the measurements of all shards and rounds together. */
  conclude?(tally: Tally): void;
}
