-- The next rows of one directory in byte order of their paths; $2 and $3 bound the directory's paths.
SELECT path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, reason, detail, setting, rules
FROM {schema}.ledger
WHERE source = $1 AND path > $2 AND path < $3
ORDER BY path
LIMIT $4
