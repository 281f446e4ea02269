-- These files are back.
DELETE FROM {schema}.gone WHERE source = $1 AND path = ANY ($2::text[])
