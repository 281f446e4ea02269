-- Leases that are held now.
SELECT name, holder FROM {schema}.leases WHERE expires_at > now() ORDER BY name
