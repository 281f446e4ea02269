-- The next run ids of all.
SELECT run_id FROM {schema}.runs WHERE run_id > $1 ORDER BY run_id LIMIT $2
