SELECT source, path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, reason, detail, setting, rules
FROM {schema}.ledger
WHERE state = 'acknowledged' AND run_id = ANY ($1::uuid[])
