-- Paths of an entry whose ledger row is another than the repair left; the first in path order.
SELECT coalesce(a.path, l.path) AS path, l.updated_at
FROM (
    SELECT r.*
    FROM {schema}.fixes f CROSS JOIN LATERAL jsonb_populate_recordset(NULL::{schema}.ledger, f.ledger_after) AS r
    WHERE f.fix_id = $1
) AS a
FULL JOIN (
    SELECT * FROM {schema}.ledger WHERE source = $2 AND path = ANY ($3::text[])
) AS l ON l.path = a.path
WHERE a IS DISTINCT FROM l
ORDER BY 1
LIMIT 1
