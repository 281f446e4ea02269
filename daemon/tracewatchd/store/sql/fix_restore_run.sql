-- The row that an entry holds, as it was; none where the entry holds none, or where there is a row.
INSERT INTO {schema}.runs
SELECT r.*
FROM {schema}.fixes f CROSS JOIN LATERAL jsonb_populate_record(NULL::{schema}.runs, f.run_before) AS r
WHERE f.fix_id = $1 AND f.run_before IS NOT NULL
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id
