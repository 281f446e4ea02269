SELECT run_before, ledger_before, ledger_after FROM {schema}.fixes WHERE fix_id = $1
