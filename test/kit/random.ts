/** A seeded stream of choices: what is made up in a test is replayed from its seeds. */
export class Random {
  #state: number;

  private constructor(state: number) {
    this.#state = state >>> 0;
  }

  static of(seed: number): Random {
    const random = new Random(seed);
    // Neighbouring seeds would begin alike.
    random.next();
    random.next();
    return random;
  }

  static mixed(...seeds: readonly number[]): Random {
    const random = new Random(0);
    for (const seed of seeds) {
      random.#state = Math.imul(random.#state ^ seed, 0x9e3779b1) >>> 0;
      random.next();
    }
    return random;
  }

  /** From 0 to below 1: Mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** A whole number from `least` to `most`, both possible. */
  int(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** A whole number from 0 to below the limit. */
  below(limit: number): number {
    return this.int(0, limit - 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new Error('nothing to pick from');
    return choices[this.int(0, choices.length - 1)]!;
  }

  /** One of the names, each as often as its number says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return entries.at(-1)![0];
  }

  list<T>(length: number, make: (index: number) => T): T[] {
    return Array.from({ length }, (_, index) => make(index));
  }

  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }
}
