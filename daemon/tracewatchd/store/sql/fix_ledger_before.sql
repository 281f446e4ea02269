UPDATE {schema}.fixes AS f
SET ledger_before = (
    SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.path), '[]')
    FROM {schema}.ledger l
    WHERE l.source = f.source AND l.path = ANY (f.paths)
)
WHERE f.fix_id = ANY ($1::uuid[])
