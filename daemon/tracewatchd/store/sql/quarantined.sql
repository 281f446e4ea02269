-- Quarantined files after a key, in key order; NULL leaves a condition out.
SELECT source, path, reason, detail, setting, size_bytes, encode(file_sha256, 'hex') AS file_sha256, run_id, rules,
    first_seen_at, updated_at
FROM {schema}.ledger
WHERE state = 'quarantined' AND (source, path) > ($1, $2)
    AND ($3::text IS NULL OR source = $3)
    AND ($4::text IS NULL OR reason = $4)
    AND ($5::text IS NULL OR path = $5)
ORDER BY source, path
LIMIT $6
