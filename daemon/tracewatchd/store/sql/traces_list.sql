-- The newest runs of some projects and days. NULL leaves a condition out; the text is looked for in a run's whole JSON.
-- Only what did not succeed is asked for its error: that alone reads a run's JSON.
SELECT run_id, trace_id, parent_run_id, project, run_date, name, run_type, status, start_time, end_time, total_tokens,
    total_cost, CASE WHEN status IS DISTINCT FROM 'success' THEN left(data ->> 'error', 1000) END AS error
FROM {schema}.runs
WHERE project = ANY ($1::text[]) AND run_date BETWEEN $2 AND $3
    AND ($4::text IS NULL OR status = $4)
    AND ($5::text IS NULL OR run_type = $5)
    AND ($6::text IS NULL OR strpos(lower(name), lower($6)) > 0)
    AND ($7::double precision IS NULL OR end_time - start_time >= make_interval(secs => $7))
    AND ($8::text IS NULL OR strpos(lower(data::text), lower($8)) > 0)
ORDER BY start_time DESC NULLS LAST, run_id
LIMIT $9
