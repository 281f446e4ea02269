SELECT DISTINCT run_id FROM {schema}.fixes WHERE state = 'rolled_back' AND run_id = ANY ($1::uuid[])
