-- An entry of the journal with the run's row as it is; one that is there already is not made again. JSON has one null
-- for two kinds of metadata, so the entry says which one it was.
INSERT INTO {schema}.fixes (fix_id, repair_id, source, kind, run_id, paths, run_before, ledger_before, ledger_after)
SELECT $1, $2, $3, $4, $5, $6,
    to_jsonb(r) || CASE
        WHEN jsonb_typeof(r.metadata) = 'null' THEN jsonb_build_object('metadata_is_json_null', true)
        ELSE jsonb_build_object()
    END,
    '[]', '[]'
FROM {schema}.runs r
WHERE r.run_id = $5
ON CONFLICT (fix_id) DO NOTHING
RETURNING fix_id
