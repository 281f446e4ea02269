-- Files between two paths that were told as gone.
SELECT path FROM {schema}.gone WHERE source = $1 AND path > $2 AND path < $3
