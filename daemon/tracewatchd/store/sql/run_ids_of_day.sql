-- The next run ids of a day, of some projects.
SELECT run_id FROM {schema}.runs WHERE project = ANY ($3::text[]) AND run_date = $4 AND run_id > $1 ORDER BY run_id LIMIT $2
