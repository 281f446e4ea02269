-- What a tree shows of the runs of a trace, the earliest first; as traces_list.sql, few of them are asked for their JSON.
SELECT run_id, trace_id, parent_run_id, project, run_date, name, run_type, status, start_time, end_time, total_tokens,
    total_cost, CASE WHEN status IS DISTINCT FROM 'success' THEN left(data ->> 'error', 1000) END AS error
FROM {schema}.runs
WHERE trace_id = $1
ORDER BY start_time NULLS LAST, run_id
LIMIT $2
