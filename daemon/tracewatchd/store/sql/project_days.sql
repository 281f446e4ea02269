-- Runs per project and day, from the index alone.
SELECT project, run_date, count(*) AS runs FROM {schema}.runs GROUP BY project, run_date ORDER BY project, run_date
