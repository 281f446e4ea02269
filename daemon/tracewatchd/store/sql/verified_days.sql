-- What the last sweeps that looked at a source's project-days said of them.
SELECT directory, depth, verified_at, verdict, files FROM {schema}.project_days WHERE source = $1
