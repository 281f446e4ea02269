-- Rows for runs that have none; runs that have a row keep it, whatever its version. DO NOTHING would not lock those:
-- they could change before what is said of them commits, and touch.sql would lock them out of order.
INSERT INTO {schema}.runs AS r (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
)
SELECT
    u.run_id, u.trace_id, u.parent_run_id, u.project, u.run_date, u.trace_date, u.name, u.run_type, u.status,
    u.start_time, u.end_time, u.total_tokens, u.total_cost, u.data, u.metadata, u.extracted_at, u.file_mtime_ns,
    u.file_sha256, u.rules,
    -- A list travels as JSON, because lists of unequal length do not fit into one array parameter.
    CASE WHEN u.sanitized IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(u.sanitized)) END
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::date[], $6::date[], $7::text[], $8::text[], $9::text[],
    $10::timestamptz[], $11::timestamptz[], $12::bigint[], $13::numeric[], $14::jsonb[], $15::jsonb[],
    $16::timestamptz[], $17::bigint[], $18::bytea[], $19::smallint[], $20::jsonb[]
) AS u (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
)
ON CONFLICT (run_id) DO UPDATE SET rules = r.rules WHERE false
RETURNING r.run_id, true AS inserted
