import { createHash } from 'node:crypto';

/** Pseudo-random numbers. The same seed gives the same numbers, so a plan of injections can be repeated. */
export class Random {
  #state: number;

  constructor(seed: string) {
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE();
  }

  /**
   * Returns the next number in `[0, 1)`. The algorithm is Mulberry32: 32 bits of state are enough for moments and
   * choices.
   */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns a number in `[from, to)`. */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** Returns a whole number in `[0, limit)`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** Returns one of the choices. */
  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }
}
