/**
 * Interleavings: every order in which the steps of some sessions can follow each other, each session's own in their order.
 * One is written as a word, a letter for each step: `abba` is the first step of a, both of b, the second of a.
 */

import { Random } from '../../kit/random.ts';

const letters = 'abcdefgh';

/** How many there are: (n1 + n2 + …)! / (n1! n2! …). */
export function countInterleavings(steps: readonly number[]): number {
  let count = 1;
  let placed = 0;
  for (const own of steps) {
    for (let i = 1; i <= own; i++) count = (count * ++placed) / i;
  }
  return Math.round(count);
}

/** All of them, in alphabetical order. */
export function* everyInterleaving(steps: readonly number[]): Generator<string> {
  const left = [...steps];
  const length = left.reduce((sum, own) => sum + own, 0);
  function* from(word: string): Generator<string> {
    if (word.length === length) yield word;
    for (let i = 0; i < left.length; i++) {
      if (left[i] === 0) continue;
      left[i]! -= 1;
      yield* from(word + letters[i]!);
      left[i]! += 1;
    }
  }
  yield* from('');
}

/**
 * All, or where they are more than `bound` so many of them, the same ones for the same seed. Those in which the sessions run
 * one after the other, from the first to the last and back, are always there: a shape in which not all of them go through
 * tests nothing.
 */
export function chooseInterleavings(steps: readonly number[], bound: number, seed: number): string[] {
  if (countInterleavings(steps) <= bound) return [...everyInterleaving(steps)];
  const serial = steps.map((own, i) => letters[i]!.repeat(own));
  const chosen = new Set([serial.join(''), serial.toReversed().join('')]);
  const random = Random.of(seed);
  const deck = steps.flatMap((own, i) => Array<string>(own).fill(letters[i]!));
  while (chosen.size < bound) chosen.add(random.shuffled(deck).join(''));
  return [...chosen].toSorted();
}

/** The session whose turn a letter is, from 0. */
export const sessionOf = (letter: string): number => letters.indexOf(letter);
