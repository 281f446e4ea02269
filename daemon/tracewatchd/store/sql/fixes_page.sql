-- The next entries of the journal below a number, newest first; NULL leaves a condition out.
SELECT fix_id, number, repair_id, source, kind, run_id, paths, state, run_before IS NOT NULL AS had_row,
    applied_at, changed_at
FROM {schema}.fixes
WHERE number < $1
    AND ($2::text IS NULL OR source = $2)
    AND ($3::uuid IS NULL OR repair_id = $3)
    AND ($4::text IS NULL OR state = $4)
ORDER BY number DESC
LIMIT $5
