import type { Shard } from './fault.js';
import type { Under } from './product.js';
import { strike } from './resume.js';
import { moment } from './workload.js';

export interface SpreadOptions {
  /** How many kills there are in all. */
  readonly kills: number;
  /** How long a process works if nobody kills it: a first guess, in milliseconds. */
  readonly workMs: number;
}

/** kill -9 at moments that are spread over the work of a process, however long that takes on this machine. */
export class SpreadKills {
  readonly #shard: Shard;
  readonly #kills: number;
  #workMs: number;

  constructor(shard: Shard, { kills, workMs }: SpreadOptions) {
    this.#shard = shard;
    this.#kills = kills;
    this.#workMs = workMs;
  }

  get areDone(): boolean {
    return this.#shard.tally.injections >= this.#kills || this.#shard.isOver();
  }

  /** Waits until its first task has started, and for a moment of the work that follows. */
  async strike(under: Under): Promise<void> {
    const { tally, random } = this.#shard;
    const part = random.next();
    await under.working;
    if (tally.injections >= this.#kills) return;
    const since = performance.now();
    await Promise.race([moment(part * this.#workMs), under.ended]);
    if (strike(under, 'SIGKILL')) tally.injections++;
    else this.#workMs = 0.8 * this.#workMs + 0.2 * (performance.now() - since);
  }
}
