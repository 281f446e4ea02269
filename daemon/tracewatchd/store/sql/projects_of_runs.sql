-- What the projects of the runs are called that a directory's files name; $2 and $3 bound the paths.
SELECT DISTINCT project
FROM {schema}.runs
WHERE run_id = ANY (ARRAY(
    SELECT run_id FROM {schema}.ledger WHERE source = $1 AND path > $2 AND path < $3 AND state = 'acknowledged'
))
