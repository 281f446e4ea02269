-- Rows for runs that have none; runs that have a row keep it, whatever its version. DO NOTHING would not lock those:
-- they could change before what is said of them commits, and touch.sql would lock them out of order.
INSERT INTO {schema}.runs AS r (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
)
SELECT
    u.run_id, u.trace_id, u.parent_run_id, u.project, u.run_date, u.trace_date, u.name, u.run_type, u.status,
    u.start_time, u.end_time, u.total_tokens, u.total_cost, u.data, u.metadata, u.extracted_at, u.file_mtime_ns,
    u.file_sha256, u.rules, u.sanitized
FROM ROWS FROM (
    jsonb_to_recordset($1::jsonb) AS (
        run_id uuid, trace_id uuid, parent_run_id uuid, project text, run_date date, trace_date date, name text,
        run_type text, status text, start_time timestamptz, end_time timestamptz, total_tokens bigint,
        total_cost numeric, metadata jsonb, extracted_at timestamptz, file_mtime_ns bigint, file_sha256 bytea,
        rules smallint, sanitized text[]
    ),
    unnest($2::jsonb[])
) AS u (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized, data
)
ON CONFLICT (run_id) DO UPDATE SET rules = r.rules WHERE false
RETURNING r.run_id, true AS inserted
