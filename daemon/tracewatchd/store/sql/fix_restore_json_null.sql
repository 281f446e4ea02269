UPDATE {schema}.runs SET metadata = 'null' WHERE run_id = $1
