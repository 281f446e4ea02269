-- One more certificate.
INSERT INTO {schema}.certificates (source, directory, certified_at, locations, runs, files, day_digest)
VALUES ($1, $2, $3, $4, $5, $6, decode($7, 'hex'))
