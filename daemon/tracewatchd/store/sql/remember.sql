-- The ledger rows of a batch, in path order; first_seen_at stays.
INSERT INTO {schema}.ledger AS l (
    source, path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, reason, detail, setting, rules, updated_at
)
SELECT
    $1, u.path, u.size_bytes, u.mtime_ns, u.ctime_ns, u.file_sha256, u.run_id, u.state, u.reason, u.detail, u.setting,
    u.rules, now()
FROM jsonb_to_recordset($2::jsonb) AS u (
    path text, size_bytes bigint, mtime_ns bigint, ctime_ns bigint, file_sha256 bytea, run_id uuid, state text, reason text,
    detail text, setting text, rules smallint
)
ORDER BY u.path COLLATE "C"
ON CONFLICT (source, path) DO UPDATE SET
    size_bytes = excluded.size_bytes,
    mtime_ns = excluded.mtime_ns,
    ctime_ns = excluded.ctime_ns,
    file_sha256 = excluded.file_sha256,
    run_id = excluded.run_id,
    state = excluded.state,
    reason = excluded.reason,
    detail = excluded.detail,
    setting = excluded.setting,
    rules = excluded.rules,
    updated_at = excluded.updated_at
