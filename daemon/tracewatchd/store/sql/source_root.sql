-- Which directory a source's root was when it was last swept.
SELECT root_device::text AS device, root_inode::text AS inode
FROM {schema}.sources
WHERE source = $1 AND root_device IS NOT NULL AND root_inode IS NOT NULL
