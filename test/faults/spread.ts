import type { Shard } from './fault.js';
import type { RunningProcess } from './product.js';
import type { Random } from './random.js';
import { strike } from './resume.js';
import { sleep } from './workload.js';

/**
 * The factors of the expected work time after a process was hit, and after a process was not. One process of eight ends
 * by itself.
 */
const LONGER = 1.05;
const SHORTER = 0.7;

/**
 * Chooses moments that are spread over the work of a process. Adapts to the time that the work takes on this machine.
 */
export class Spread {
  readonly #random: Random;
  #workMs: number;

  /** `workMs` is a first guess of the time that a process works if nothing ends it, in milliseconds. */
  constructor(random: Random, workMs: number) {
    this.#random = random;
    this.#workMs = workMs;
  }

  /**
   * Waits until the first task has started, and then for a random part of the work time, or until the process has
   * ended.
   */
  async waitForMoment({ working, ended }: RunningProcess): Promise<void> {
    const part = this.#random.next();
    await working;
    await Promise.race([sleep(part * this.#workMs), ended]);
  }

  /** Sends a signal to the process. Returns false if the process has ended already. */
  strike(running: RunningProcess, signal: NodeJS.Signals): boolean {
    const isStruck = strike(running, signal);
    this.#workMs *= isStruck ? LONGER : SHORTER;
    return isStruck;
  }
}

/** Sends kill -9 at spread moments, `kills` times in all. */
export class SpreadKills {
  readonly #shard: Shard;
  readonly #kills: number;
  readonly #spread: Spread;

  constructor(shard: Shard, { kills, workMs }: { readonly kills: number; readonly workMs: number }) {
    this.#shard = shard;
    this.#kills = kills;
    this.#spread = new Spread(shard.random, workMs);
  }

  /** True if all kills were sent, or if the time is over. */
  get areDone(): boolean {
    return this.#shard.tally.injections >= this.#kills || this.#shard.isOver();
  }

  /** Waits for a moment and kills the process. Does nothing if all kills were sent. */
  async strike(running: RunningProcess): Promise<void> {
    const { tally } = this.#shard;
    if (tally.injections >= this.#kills) return;
    await this.#spread.waitForMoment(running);
    if (this.#spread.strike(running, 'SIGKILL')) tally.injections++;
  }
}
