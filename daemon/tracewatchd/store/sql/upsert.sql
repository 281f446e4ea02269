-- The guarded upsert: a row is written where the run is new, or this version of it is greater, or our rules are newer.
-- Equal bytes are left to touch.sql. Only columns and immutable expressions stand in DO UPDATE, as Citus demands.
INSERT INTO {schema}.runs AS r (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized, updated_at
)
SELECT
    u.run_id, u.trace_id, u.parent_run_id, u.project, u.run_date, u.trace_date, u.name, u.run_type, u.status,
    u.start_time, u.end_time, u.total_tokens, u.total_cost, u.data, u.metadata, u.extracted_at, u.file_mtime_ns,
    u.file_sha256, u.rules,
    -- A list travels as JSON, because lists of unequal length do not fit into one array parameter.
    CASE WHEN u.sanitized IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(u.sanitized)) END,
    now()
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::date[], $6::date[], $7::text[], $8::text[], $9::text[],
    $10::timestamptz[], $11::timestamptz[], $12::bigint[], $13::numeric[], $14::jsonb[], $15::jsonb[],
    $16::timestamptz[], $17::bigint[], $18::bytea[], $19::smallint[], $20::jsonb[]
) AS u (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized
)
ON CONFLICT (run_id) DO UPDATE SET
    trace_id = excluded.trace_id,
    parent_run_id = excluded.parent_run_id,
    project = excluded.project,
    run_date = excluded.run_date,
    trace_date = excluded.trace_date,
    name = excluded.name,
    run_type = excluded.run_type,
    status = excluded.status,
    start_time = excluded.start_time,
    end_time = excluded.end_time,
    total_tokens = excluded.total_tokens,
    total_cost = excluded.total_cost,
    data = excluded.data,
    metadata = excluded.metadata,
    extracted_at = excluded.extracted_at,
    file_sha256 = excluded.file_sha256,
    rules = excluded.rules,
    sanitized = excluded.sanitized,
    file_mtime_ns = CASE
        WHEN excluded.file_sha256 = r.file_sha256 THEN greatest(excluded.file_mtime_ns, r.file_mtime_ns)
        ELSE excluded.file_mtime_ns
    END,
    updated_at = excluded.updated_at
WHERE (
    excluded.file_sha256 <> r.file_sha256
    AND (excluded.extracted_at, excluded.file_mtime_ns, excluded.file_sha256)
        > (r.extracted_at, r.file_mtime_ns, r.file_sha256)
) OR (
    excluded.file_sha256 = r.file_sha256 AND excluded.rules > r.rules
)
RETURNING r.run_id, (xmax = 0) AS inserted
