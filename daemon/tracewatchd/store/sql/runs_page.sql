-- The next runs of a project after a (run_date, run_id).
SELECT run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
FROM {schema}.runs
WHERE project = $1 AND (run_date, run_id) > ($2, $3) AND run_date <= $4
ORDER BY run_date, run_id
LIMIT $5
