-- What there is after the repair. A row that was not touched is none of the entry's business. What reading a file again
-- put right is called by what there was before: nothing in the ledger, a ledger row without its row, or another version.
UPDATE {schema}.fixes AS f
SET kind = CASE
        WHEN f.kind <> 'missing' OR f.ledger_before = '[]' THEN f.kind
        WHEN f.run_before IS NULL AND f.ledger_before @> jsonb_build_array(jsonb_build_object('state', 'acknowledged'))
            THEN 'orphan'
        ELSE 'stale'
    END,
    run_before = CASE WHEN u.touched THEN f.run_before END,
    run_after_sha256 = CASE WHEN u.touched THEN u.run_after_sha256 END,
    ledger_after = (
        SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.path), '[]')
        FROM {schema}.ledger l
        WHERE l.source = f.source AND l.path = ANY (f.paths)
    )
FROM unnest($1::uuid[], $2::boolean[], $3::bytea[]) AS u (fix_id, touched, run_after_sha256)
WHERE f.fix_id = u.fix_id
