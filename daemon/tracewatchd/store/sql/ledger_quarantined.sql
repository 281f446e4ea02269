-- Quarantined rows of one directory; $2 and $3 bound its paths.
SELECT path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, reason, detail, setting, rules
FROM {schema}.ledger
WHERE source = $1 AND path > $2 AND path < $3 AND state = 'quarantined'
ORDER BY path
LIMIT $4
