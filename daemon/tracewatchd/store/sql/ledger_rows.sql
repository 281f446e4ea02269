SELECT path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, reason, detail, setting, rules
FROM {schema}.ledger
WHERE source = $1 AND path = ANY ($2::text[])
