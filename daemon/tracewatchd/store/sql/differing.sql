-- Files whose run's row came from the same bytes by the same rules and yet holds something else, and in which columns.
-- $1 and $2 are those of upsert.sql, with a number for each file. A row's mtime is the greatest of its files.
SELECT d.number, d.columns
FROM (
    SELECT u.number, array_remove(ARRAY[
        CASE WHEN r.trace_id IS DISTINCT FROM u.trace_id THEN 'trace_id' END,
        CASE WHEN r.parent_run_id IS DISTINCT FROM u.parent_run_id THEN 'parent_run_id' END,
        CASE WHEN r.project IS DISTINCT FROM u.project THEN 'project' END,
        CASE WHEN r.run_date IS DISTINCT FROM u.run_date THEN 'run_date' END,
        CASE WHEN r.trace_date IS DISTINCT FROM u.trace_date THEN 'trace_date' END,
        CASE WHEN r.name IS DISTINCT FROM u.name THEN 'name' END,
        CASE WHEN r.run_type IS DISTINCT FROM u.run_type THEN 'run_type' END,
        CASE WHEN r.status IS DISTINCT FROM u.status THEN 'status' END,
        CASE WHEN r.start_time IS DISTINCT FROM u.start_time THEN 'start_time' END,
        CASE WHEN r.end_time IS DISTINCT FROM u.end_time THEN 'end_time' END,
        CASE WHEN r.total_tokens IS DISTINCT FROM u.total_tokens THEN 'total_tokens' END,
        CASE WHEN r.total_cost IS DISTINCT FROM u.total_cost THEN 'total_cost' END,
        CASE WHEN r.data IS DISTINCT FROM u.data THEN 'data' END,
        CASE WHEN r.metadata IS DISTINCT FROM u.metadata THEN 'metadata' END,
        CASE WHEN r.extracted_at IS DISTINCT FROM u.extracted_at THEN 'extracted_at' END,
        CASE WHEN r.sanitized IS DISTINCT FROM u.sanitized THEN 'sanitized' END,
        CASE WHEN r.file_mtime_ns < u.file_mtime_ns THEN 'file_mtime_ns' END
    ], NULL) AS columns
    FROM ROWS FROM (
        jsonb_to_recordset($1::jsonb) AS (
            number integer, run_id uuid, trace_id uuid, parent_run_id uuid, project text, run_date date, trace_date date,
            name text, run_type text, status text, start_time timestamptz, end_time timestamptz, total_tokens bigint,
            total_cost numeric, metadata jsonb, extracted_at timestamptz, file_mtime_ns bigint, file_sha256 bytea,
            rules smallint, sanitized text[]
        ),
        unnest($2::jsonb[])
    ) AS u (
        number, run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time,
        end_time, total_tokens, total_cost, metadata, extracted_at, file_mtime_ns, file_sha256, rules, sanitized, data
    )
    JOIN {schema}.runs r ON r.run_id = u.run_id AND r.file_sha256 = u.file_sha256 AND r.rules = u.rules
) AS d
WHERE cardinality(d.columns) > 0
