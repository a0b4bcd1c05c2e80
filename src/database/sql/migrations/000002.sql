-- Claim and release cost every transaction of the proxy: `done := f(…)` is evaluated by itself, where PERFORM runs a query.

CREATE OR REPLACE FUNCTION tviews.claim(secret bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  done boolean;
BEGIN
  -- Digests, so that the time the comparison takes says nothing about the secret.
  IF secret IS NULL OR NOT EXISTS (SELECT FROM tviews.secret AS s WHERE sha256(s.value) = sha256(claim.secret)) THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'permission denied to claim a transaction',
      HINT = 'Only a tview-proxy that has read the secret of this database may claim.';
  END IF;
  IF current_setting('transaction_read_only') = 'on' THEN
    RETURN;
  END IF;
  done := set_config('tviews.claim', 'on', true) IS NOT NULL;
  done := setval('tviews.claimed', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint) IS NOT NULL;
END
$$;

-- Not undone by ROLLBACK TO or a later SET: a change after this goes to the queue, whatever the user does. Whatever
-- tviews.claim says, too: who switches it off before the last flush and on again in a trigger at COMMIT would lose a change.
-- A transaction made read only since the claim cannot write any more, so it needs no release.
CREATE OR REPLACE FUNCTION tviews.release() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  done boolean;
BEGIN
  IF current_setting('transaction_read_only') = 'off' THEN
    done := set_config('tviews.claim', 'off', true) IS NOT NULL;
    done := setval('tviews.claimed', 1) IS NOT NULL;
  END IF;
END
$$;

-- Capture functions look for themselves: one call less in every statement. They are generated anew in this transaction,
-- which holds its locks on the sources until then, so nobody is left who calls it.
DROP FUNCTION tviews.is_claimed();
