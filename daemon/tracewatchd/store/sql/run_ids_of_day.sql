-- The next run ids of a day, of some projects.
SELECT count(*) AS runs, (array_agg(run_id))[count(*)] AS last, coalesce(array_agg(run_id)::text, '{}') AS run_ids
FROM (
    SELECT run_id FROM {schema}.runs WHERE project = ANY ($3::text[]) AND run_date = $4 AND run_id > $1 ORDER BY run_id LIMIT $2
) AS p
