-- The ledger rows that an entry holds, as they were; says how many it holds and how many are back.
WITH kept AS (
    SELECT r.*
    FROM {schema}.fixes f CROSS JOIN LATERAL jsonb_populate_recordset(NULL::{schema}.ledger, f.ledger_before) AS r
    WHERE f.fix_id = $1
), restored AS (
    INSERT INTO {schema}.ledger SELECT * FROM kept ORDER BY path COLLATE "C"
    ON CONFLICT (source, path) DO NOTHING
    RETURNING path
)
SELECT (SELECT count(*) FROM kept) AS kept, (SELECT count(*) FROM restored) AS restored
