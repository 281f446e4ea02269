-- Remember where a source lies the first time it is seen; says where it lay when it was registered.
WITH known AS (
    INSERT INTO {schema}.sources AS s (source, host, root) VALUES ($1, $2, $3)
    ON CONFLICT (source) DO UPDATE SET updated_at = now()
    RETURNING host, root
)
SELECT host, root FROM known
