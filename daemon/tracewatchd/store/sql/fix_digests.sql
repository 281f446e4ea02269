-- What the rows of these runs are, as one number each over all their columns. Times enter as seconds and bytes as hex
-- digits, which no setting of a session renders in another way.
SELECT run_id,
    updated_at,
    sha256(convert_to((
        to_jsonb(r) || jsonb_build_object(
            'start_time', extract(epoch FROM start_time),
            'end_time', extract(epoch FROM end_time),
            'extracted_at', extract(epoch FROM extracted_at),
            'created_at', extract(epoch FROM created_at),
            'updated_at', extract(epoch FROM updated_at),
            'file_sha256', encode(file_sha256, 'hex'),
            'metadata_is_null', metadata IS NULL
        )
    )::text, 'UTF8')) AS digest
FROM {schema}.runs r
WHERE run_id = ANY ($1::uuid[])
