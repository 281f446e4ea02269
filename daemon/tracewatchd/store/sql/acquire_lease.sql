-- Take the lease where it is free, expired or ours already; says who holds it afterwards. The server's clock decides.
WITH taken AS (
    INSERT INTO {schema}.leases AS l (name, holder, expires_at)
    VALUES ($1, $2, now() + make_interval(secs => $3))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE l.holder = excluded.holder OR l.expires_at < now()
    RETURNING holder
)
SELECT holder FROM taken
UNION ALL
SELECT holder FROM {schema}.leases WHERE name = $1 AND NOT EXISTS (SELECT FROM taken)
