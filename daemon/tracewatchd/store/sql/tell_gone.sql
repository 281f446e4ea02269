-- These files are told as gone from now on.
INSERT INTO {schema}.gone (source, path)
SELECT $1, u.path FROM unnest($2::text[]) AS u (path) ORDER BY u.path COLLATE "C"
ON CONFLICT DO NOTHING
