-- The files that were quarantined last.
SELECT source, path, reason, detail, setting, size_bytes, encode(file_sha256, 'hex') AS file_sha256, run_id, rules,
    first_seen_at, updated_at
FROM {schema}.ledger
WHERE state = 'quarantined'
ORDER BY updated_at DESC, source, path
LIMIT $1
