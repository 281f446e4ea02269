-- The next run ids of all.
SELECT count(*) AS runs, (array_agg(run_id))[count(*)] AS last, coalesce(array_agg(run_id)::text, '{}') AS run_ids
FROM (
    SELECT run_id FROM {schema}.runs WHERE run_id > $1 ORDER BY run_id LIMIT $2
) AS p
