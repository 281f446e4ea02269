-- Lock an entry of the journal, and say what a rollback must know of it.
SELECT run_after_sha256,
    run_before IS NOT NULL OR run_after_sha256 IS NOT NULL AS touched_row,
    coalesce(run_before ? 'metadata_is_json_null', false) AS metadata_is_json_null
FROM {schema}.fixes
WHERE fix_id = $1
FOR UPDATE
