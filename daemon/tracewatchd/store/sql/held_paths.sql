SELECT DISTINCT p.path
FROM {schema}.fixes f CROSS JOIN LATERAL unnest(f.paths) AS p (path)
WHERE f.state = 'rolled_back' AND f.source = $1 AND f.paths && $2::text[] AND p.path = ANY ($2::text[])
