-- Equal bytes: only the mtime rises. The rows are locked by the upsert before, so no order is needed.
UPDATE {schema}.runs AS r
SET file_mtime_ns = u.file_mtime_ns
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS u (run_id, file_mtime_ns, file_sha256)
WHERE r.run_id = u.run_id AND r.file_sha256 = u.file_sha256 AND r.file_mtime_ns < u.file_mtime_ns
