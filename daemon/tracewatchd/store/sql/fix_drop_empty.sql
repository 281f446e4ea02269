-- Entries by which nothing was changed.
DELETE FROM {schema}.fixes
WHERE fix_id = ANY ($1::uuid[]) AND run_before IS NULL AND run_after_sha256 IS NULL AND ledger_before = ledger_after
