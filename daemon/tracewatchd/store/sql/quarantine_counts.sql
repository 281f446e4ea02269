-- How many files are quarantined, by source, project-day and reason. A path that is in no folder stands for itself.
SELECT source, coalesce(substring(path FROM '^[^/]+/[^/]+'), path) AS directory, reason, count(*) AS files
FROM {schema}.ledger
WHERE state = 'quarantined'
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
LIMIT $1
