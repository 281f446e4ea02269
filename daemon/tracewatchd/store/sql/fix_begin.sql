-- Entries of the journal for what has no row; an entry that is there already is not made again.
INSERT INTO {schema}.fixes (fix_id, repair_id, source, kind, run_id, paths, ledger_before, ledger_after)
SELECT u.fix_id, $2, $3, u.kind, u.run_id, u.paths, '[]', '[]'
FROM jsonb_to_recordset($1::jsonb) AS u (fix_id uuid, kind text, run_id uuid, paths text[])
ON CONFLICT (fix_id) DO NOTHING
RETURNING fix_id
