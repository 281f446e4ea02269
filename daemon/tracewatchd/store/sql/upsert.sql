-- The guarded upsert: a row is written where the run is new, or this version of it is greater, or our rules are newer.
-- Equal bytes are left to touch.sql. $1 holds the columns of every row as JSON, which costs the client a tenth of as
-- many arrays, and $2 the runs themselves in the same order. Only columns and immutable expressions stand in DO UPDATE, as Citus demands.
INSERT INTO {schema}.runs AS r (
    run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time, end_time,
    total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized, updated_at
)
SELECT
    u.run_id, u.trace_id, u.parent_run_id, u.project, u.run_date, u.trace_date, u.name, u.run_type, u.status,
    u.start_time, u.end_time, u.total_tokens, u.total_cost, u.data, u.metadata, u.extracted_at, u.file_mtime_ns,
    u.file_sha256, u.rules, u.sanitized, now()
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
