-- Those of these files that were told as gone.
SELECT path FROM {schema}.gone WHERE source = $1 AND path = ANY ($2::text[])
