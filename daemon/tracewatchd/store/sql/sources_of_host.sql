-- Where every source of a host lies.
SELECT source, root FROM {schema}.sources WHERE host = $1 ORDER BY source
