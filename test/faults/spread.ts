import type { Shard } from './fault.js';
import type { Under } from './product.js';
import type { Random } from './random.js';
import { strike } from './resume.js';
import { moment } from './workload.js';

/** What the time is multiplied by when a process was struck, and when it was not: one of eight comes to its end. */
const LONGER = 1.05;
const SHORTER = 0.7;

/** Moments that are spread over the work of a process, however long that takes on this machine now. */
export class Spread {
  readonly #random: Random;
  #workMs: number;

  /** `workMs`: how long a process works if nobody ends it, as a first guess. */
  constructor(random: Random, workMs: number) {
    this.#random = random;
    this.#workMs = workMs;
  }

  /** Waits until the first task has started, and for a moment of the work that follows; or until the process is over. */
  async reach({ working, ended }: Under): Promise<void> {
    const part = this.#random.next();
    await working;
    await Promise.race([moment(part * this.#workMs), ended]);
  }

  /** Ends the process, unless it has ended by itself; says whether it was sent. */
  strike(under: Under, signal: NodeJS.Signals): boolean {
    const isStruck = strike(under, signal);
    this.#workMs *= isStruck ? LONGER : SHORTER;
    return isStruck;
  }
}

/** kill -9 at such moments, so many in all. */
export class SpreadKills {
  readonly #shard: Shard;
  readonly #kills: number;
  readonly #spread: Spread;

  constructor(shard: Shard, { kills, workMs }: { readonly kills: number; readonly workMs: number }) {
    this.#shard = shard;
    this.#kills = kills;
    this.#spread = new Spread(shard.random, workMs);
  }

  get areDone(): boolean {
    return this.#shard.tally.injections >= this.#kills || this.#shard.isOver();
  }

  async strike(under: Under): Promise<void> {
    const { tally } = this.#shard;
    if (tally.injections >= this.#kills) return;
    await this.#spread.reach(under);
    if (this.#spread.strike(under, 'SIGKILL')) tally.injections++;
  }
}
