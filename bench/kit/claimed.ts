/** A transaction claimed and flushed by hand, over the wire as the proxy does it but without the proxy. */

import { functionCall } from '../../proxy/wire/messages/requests.ts';
import type { SqlExecutor } from '../../src/database/executor.ts';
import { readRegistry } from '../../src/database/list.ts';
import { type Answer, reportField, type Step } from './client.ts';

export interface Claim {
  readonly claim: Step;
  /** Flushes what these answers said had changed, and gives the claim back. */
  flush(answers: readonly Answer[]): Step;
}

const changeState = 'TV001';

/** @param executor the owner's: only it may read the secret */
export async function claimOf(executor: SqlExecutor): Promise<Claim> {
  const registry = await readRegistry(executor);
  if (registry === null) throw new Error('this database has no tviews');
  const { functions, secret } = registry;
  return {
    claim: { bytes: functionCall(functions.claim, [secret, Buffer.from([0, 0, 0, 2])]), ready: 1 },
    flush: (answers) => ({
      bytes: functionCall(functions.flush, [`[${changesIn(answers).join(',')}]`, 'true'], false),
      ready: 1,
    }),
  };
}

function changesIn(answers: readonly Answer[]): string[] {
  return answers
    .flatMap(({ notices }) => notices)
    .filter((notice) => reportField(notice, 'C') === changeState)
    .map((notice) => reportField(notice, 'M') ?? '');
}
