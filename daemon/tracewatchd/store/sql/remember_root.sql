UPDATE {schema}.sources SET root_device = $2::text::numeric, root_inode = $3::text::numeric WHERE source = $1
