/**
 * A batch of the extended protocol (Parse … Sync) whose statement is one of ours: the server never sees it, so every
 * message of it is answered here, in order.
 */
import { Frontend } from '../wire/codes.ts';
import {
  bindComplete,
  closeComplete,
  noData,
  noParameters,
  parseComplete,
  rowDescription,
} from './answers.ts';

export interface OwnBatch {
  /** Just behind the Sync. */
  readonly end: number;
  readonly executes: boolean;
  /** Another statement follows the one that is executed. */
  readonly goesOn: boolean;
  /** Answers to everything up to the Execute (or to the Sync when nothing is executed). */
  readonly answers: Uint8Array;
}

/**
 * @param from of the batch's first message: Parse, or Bind when it was prepared before
 * @param rowColumn the one column of a function form; null where the statement returns nothing
 * @returns null when the Sync has not arrived yet
 */
export function readOwnBatch(chunk: Buffer, from: number, rowColumn: string | null): OwnBatch | null {
  const answers: Uint8Array[] = [];
  const description = rowColumn === null ? noData : rowDescription(rowColumn);
  let executes = false;
  let goesOn = false;
  let at = from;
  while (chunk.length - at >= 5) {
    const next = at + 1 + chunk.readUInt32BE(at + 1);
    if (next > chunk.length) return null;
    switch (chunk[at]) {
      case Frontend.Parse:
        if (executes) goesOn = true;
        else answers.push(parseComplete);
        break;
      case Frontend.Bind:
        if (executes) goesOn = true;
        else answers.push(bindComplete);
        break;
      case Frontend.Describe:
        if (executes) break;
        if (chunk[at + 5] === 0x53) answers.push(noParameters);
        answers.push(description);
        break;
      case Frontend.Close:
        if (!executes) answers.push(closeComplete);
        break;
      case Frontend.Execute:
        if (executes) goesOn = true;
        executes = true;
        break;
      case Frontend.Sync:
        return { end: next, executes, goesOn, answers: Buffer.concat(answers) };
      default:
        break;
    }
    at = next;
  }
  return null;
}
