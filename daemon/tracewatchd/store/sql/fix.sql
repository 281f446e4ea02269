SELECT fix_id, number, repair_id, source, kind, run_id, paths, state, run_before IS NOT NULL AS had_row,
    applied_at, changed_at
FROM {schema}.fixes
WHERE fix_id = $1
