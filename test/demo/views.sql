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

-- the applications' SQL stays as it is: their names now mean the views
ALTER DATABASE express SET search_path = masked, express;
