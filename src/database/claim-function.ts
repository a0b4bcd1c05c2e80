/**
 * Generates tviews.claim: what a proxy calls before it passes a transaction's first write on (decision 001). It holds the
 * digest of the secret, which tells nobody the secret, as that is 32 random bytes: a claim reads no table. Who changes the
 * secret runs "tviews init".
 */
import { quoteLiteral } from './identifier.ts';
import { searchPath } from './settings.ts';
import { dollarQuote } from './text.ts';

/** What a proxy has to understand of changes, and its mark in the setting tviews.claim (000004.sql). */
export const claimVersion = 2;

/** @param digest SHA-256 of the secret, as hexadecimal digits */
export function claimFunction(digest: string): string {
  const body = `DECLARE
  done boolean;
BEGIN
  -- Digests: the time the comparison takes says nothing about the secret.
  IF sha256(claim.secret) IS DISTINCT FROM decode(${quoteLiteral(digest)}, 'hex') THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'permission denied to claim a transaction',
      HINT = 'Only a tview-proxy that has read the secret of this database may claim.';
  END IF;
  IF version = ${claimVersion} AND current_setting('transaction_read_only') = 'off' THEN
    done := set_config('tviews.claim', ${quoteLiteral(String(claimVersion))}, true) IS NOT NULL
      AND setval('tviews.claimed', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint) IS NOT NULL;
  END IF;
END`;
  // Replaced, never dropped: its oid is known to proxies.
  return `CREATE OR REPLACE FUNCTION tviews.claim(secret bytea, version integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ${searchPath}
AS ${dollarQuote(body)};`;
}
