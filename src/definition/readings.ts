/**
 * The readings of a definition: of each set operation one branch, of each FULL JOIN one side (that side LEFT JOIN the other).
 * Every row of the definition comes from one of them, and depends on what that one's links reach: so each is walked by
 * itself, with occurrences of its own, and the keys of a change are those that any of them leads to.
 */
import type { ResolvedDefinition, ResolvedOccurrence } from './resolved.ts';

/** More would be many key queries for little: then a set operation is not looked into. */
const mostReadings = 32;

/** Decides at each fork of the walk which way to go. */
export class Choices {
  readonly #taken: { at: number; of: number }[];
  #next = 0;

  constructor(taken: readonly { readonly at: number; readonly of: number }[] = []) {
    this.#taken = taken.map((choice) => ({ ...choice }));
  }

  choose(of: number): number {
    const choice = this.#taken[this.#next] ?? { at: 0, of };
    this.#taken[this.#next] = choice;
    this.#next += 1;
    return choice.at;
  }

  /** The next combination: like an odometer, the last wheel first; null after the last one. */
  following(): Choices | null {
    const kept = [...this.#taken];
    while (kept.length > 0) {
      const { at, of } = kept.pop()!;
      if (at + 1 < of) return new Choices([...kept, { at: at + 1, of }]);
    }
    return null;
  }
}

/** What one walk finds. */
export type Reading = Omit<ResolvedDefinition, 'readings'> & ResolvedDefinition['readings'][number];

/** @param walk with null it takes no fork: what stands behind one is unbounded */
export function everyReading(walk: (choices: Choices | null) => Reading): ResolvedDefinition {
  const readings: Reading[] = [];
  for (let choices: Choices | null = new Choices(); choices !== null; choices = choices.following()) {
    if (readings.length === mostReadings) return combined([walk(null)]);
    readings.push(walk(choices));
  }
  return combined(readings);
}

/** Beside each other: no equality leads from one reading's occurrences to another's. */
function combined(readings: readonly Reading[]): ResolvedDefinition {
  const occurrences: ResolvedOccurrence[] = [];
  const equalities: ResolvedDefinition['equalities'][number][] = [];
  const parts: ResolvedDefinition['readings'][number][] = [];
  const always = new Set<number>();
  const notNull = new Set<string>();
  const nearMisses = new Map<number, string>();
  const met = new Set<number>();
  const advice = new Map<string, ResolvedDefinition['advice'][number]>();
  for (const [reading, found] of readings.entries()) {
    const first = occurrences.length;
    const moved = <Place extends { readonly occurrence: number }>(place: Place): Place => ({
      ...place,
      occurrence: place.occurrence + first,
    });
    const origin = (one: Reading['outputs'][number]['origin']): typeof one =>
      'occurrence' in one ? moved(one) : one;
    for (const one of found.occurrences) occurrences.push({ ...one, index: one.index + first, reading });
    for (const { left, right, owners } of found.equalities) {
      equalities.push({
        left: moved(left),
        right: moved(right),
        owners: new Set([...owners].map((owner) => owner + first)),
      });
    }
    parts.push({
      outputs: found.outputs.map(({ name, origin: from }) => ({ name, origin: origin(from) })),
      grouping: found.grouping?.map(origin) ?? null,
      partitions: found.partitions.map((columns) => columns.map(origin)),
    });
    for (const index of found.always) always.add(index + first);
    for (const name of found.notNull) {
      const [index, ...column] = name.split('.');
      notNull.add([Number(index) + first, ...column].join('.'));
    }
    for (const [index, how] of found.nearMisses) nearMisses.set(index + first, how);
    for (const oid of found.met) met.add(oid);
    for (const one of found.advice) advice.set(one.message, one);
  }
  return {
    occurrences,
    equalities,
    readings: parts,
    always,
    notNull,
    nearMisses,
    met,
    isFenced: readings.some(({ isFenced }) => isFenced),
    advice: [...advice.values()],
  };
}
