-- Those of these directories of a source in which something was written to the ledger after the moment given for each.
SELECT asked.directory
FROM unnest($2::text[], $3::timestamptz[]) AS asked (directory, since)
WHERE EXISTS (
    SELECT FROM {schema}.ledger AS l
    WHERE l.source = $1 AND l.path > asked.directory || '/' AND l.path < asked.directory || '0' AND l.updated_at > asked.since
)
