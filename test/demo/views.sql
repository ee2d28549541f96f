/*
 * views.sql: a masked view over every protected table, in place of the table.
 * What other roles had on the table they have on the view instead.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

SELECT courier_pii.create_masked_view(c.oid, move_grants => true)
FROM pg_catalog.pg_class c
WHERE c.oid IN (SELECT tbl FROM courier_pii.protected_columns)
	AND NOT c.relispartition
ORDER BY c.relname;

-- partitions had rights of their own; nobody needs them
SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
					   a.grantee::regrole)
FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
WHERE c.relispartition AND c.relnamespace = 'express'::regnamespace
	AND c.relkind = 'r' AND a.grantee <> c.relowner
\gexec

-- the applications' SQL stays as it is: their names now mean the views
ALTER DATABASE express SET search_path = masked, express;
