import type { Product } from './product.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

/** What a part of a fault's injections works with. */
export interface Shard {
  /** Of this shard alone: the same for the same seed, whatever runs beside it. */
  readonly random: Random;
  readonly tally: Tally;
  readonly product: Product;
  /** In the first round of all: what is to be done once, such as a soak. */
  readonly isFirst: boolean;
  readonly nightly: boolean;
  /** True when the time is up: no new run is begun. */
  isOver(): boolean;
}

/** A kind of fault, and how it is injected. */
export interface Fault {
  /** `F1`. */
  readonly id: string;
  readonly title: string;
  /** Broken on purpose: the suite must find it guilty. */
  readonly control?: true;
  /** Measures what others would disturb: nothing runs beside it. */
  readonly alone?: true;
  /** About how long a shard takes, where that is more than some: the longest begin first, so that no lane waits for them. */
  readonly seconds?: number;
  /** How many parts can run side by side; default 1. */
  readonly shards?: number;
  run(shard: Shard): Promise<void>;
  /** Judges what was measured in all shards and rounds together. */
  conclude?(tally: Tally): void;
}
