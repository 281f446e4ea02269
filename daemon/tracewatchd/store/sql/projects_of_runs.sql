-- What the projects of these runs are called.
SELECT DISTINCT project FROM {schema}.runs WHERE run_id = ANY (string_to_array($1, ',')::uuid[])
