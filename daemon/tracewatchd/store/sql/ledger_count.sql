-- How many files between two paths the ledger knows that were not told as gone, counted no further than $4.
SELECT count(*) AS files FROM (
    SELECT FROM {schema}.ledger
    WHERE source = $1 AND path > $2 AND path < $3
        AND path NOT IN (SELECT g.path FROM {schema}.gone g WHERE g.source = $1 AND g.path > $2 AND g.path < $3)
    LIMIT $4
) AS f
