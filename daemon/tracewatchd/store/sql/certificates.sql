-- The last certificate of each of a source's project-days.
SELECT DISTINCT ON (directory) directory, certified_at, locations, runs, files, encode(day_digest, 'hex') AS day_digest
FROM {schema}.certificates
WHERE source = $1
ORDER BY directory, number DESC
