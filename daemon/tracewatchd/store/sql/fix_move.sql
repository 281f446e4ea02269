-- From one state to another; nothing where it is not in the first.
UPDATE {schema}.fixes SET state = $3, changed_at = now() WHERE fix_id = $1 AND state = $2
