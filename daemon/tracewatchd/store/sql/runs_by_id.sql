SELECT run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
FROM {schema}.runs
WHERE run_id = ANY ($1::uuid[])
