-- Every directory that the ledger has a path in, by skipping along the primary key: one look per directory, no scan.
-- '0' is the character after '/', so directory || '0' lies after everything in the directory. A path that is in no
-- day's directory stands for itself; there should be none.
WITH RECURSIVE found (path) AS (
    (SELECT path FROM {schema}.ledger WHERE source = $1 ORDER BY path LIMIT 1)
    UNION ALL
    SELECT (
        SELECT l.path FROM {schema}.ledger l
        WHERE l.source = $1 AND l.path > CASE
            WHEN found.path ~ '^[^/]+/\d{4}-\d{2}-\d{2}/[^/]+$' THEN regexp_replace(found.path, '/[^/]*$', '') || '0'
            ELSE found.path
        END
        ORDER BY l.path LIMIT 1
    )
    FROM found WHERE found.path IS NOT NULL
)
SELECT regexp_replace(path, '/[^/]*$', '') AS directory, path, path ~ '^[^/]+/\d{4}-\d{2}-\d{2}/[^/]+$' AS in_a_day
FROM found WHERE path IS NOT NULL
