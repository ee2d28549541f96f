/*
 * cleanup.sql: after existing data were protected, remove the clear text that
 * earlier versions of the tables left in the server's files.
 *
 * Old table files go at the next checkpoint; column statistics are replaced by
 * ANALYZE and their dead rows by VACUUM FULL; log segments from before go when
 * a checkpoint is older than two switches (wal_recycle = off removes instead of
 * renames).  Archived log, older base backups and dumps, replicas' files and
 * free blocks of the file system are the company's to deal with.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

ANALYZE;
VACUUM FULL pg_catalog.pg_statistic;
VACUUM FULL pg_catalog.pg_attribute;
CHECKPOINT;
SELECT pg_switch_wal();
CHECKPOINT;
SELECT pg_switch_wal();
CHECKPOINT;
