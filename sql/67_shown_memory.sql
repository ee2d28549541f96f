-- Clear text is kept in memory, or refused.  test/t/014_temporary_files.pl looks
-- into the files.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_clerk LOGIN;
CREATE ROLE regress_courier_pii_lister LOGIN;
CREATE SCHEMA regress_spill;
CREATE TABLE regress_spill.parcel (id int PRIMARY KEY, remark text, branch int);
INSERT INTO regress_spill.parcel SELECT n, 'leave with neighbour ' || n, n % 3 FROM generate_series(1, 80) n;
SELECT courier_pii.protect_column('regress_spill.parcel', 'remark', 'note');
SELECT courier_pii.create_masked_view('regress_spill.parcel', 'regress_spill_view');
GRANT USAGE ON SCHEMA regress_spill_view TO PUBLIC;
GRANT SELECT ON regress_spill_view.parcel TO PUBLIC;
SELECT courier_pii.grant_disclosure('regress_courier_pii_clerk', 'note', 'clear');
VACUUM ANALYZE regress_spill.parcel;
SHOW courier_pii.shown_memory;

\c - regress_courier_pii_clerk
SET courier_pii.shown_memory = '1GB';
SET work_mem = '64kB';
-- more than work_mem, less than shown_memory
SELECT max(length(x)) FROM (SELECT remark || repeat('x', 10000) AS x FROM regress_spill_view.parcel ORDER BY 1 OFFSET 0) s;
-- more than both (of two columns: 18 does not count the memory of one that is sorted alone)
SELECT max(length(x)), max(id) FROM (SELECT remark || repeat('x', 1000000) AS x, id FROM regress_spill_view.parcel ORDER BY 1 OFFSET 0) s;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT remark || repeat('x', 1000000) FROM regress_spill_view.parcel;
COMMIT;
DO $$
BEGIN
	PERFORM DISTINCT remark || repeat('x', 1000000), id FROM regress_spill_view.parcel;
EXCEPTION WHEN configuration_limit_exceeded THEN
	RAISE NOTICE '%', SQLERRM;
END $$;
SHOW work_mem;
SHOW temp_file_limit;
-- what nothing was shown of is written as ever, also beside a cursor that shows
BEGIN;
DECLARE c CURSOR FOR SELECT lower(remark) FROM regress_spill_view.parcel ORDER BY 1;
FETCH 1 FROM c;
SELECT count(*) FROM (SELECT g FROM generate_series(1, 20000) g ORDER BY md5(g::text) OFFSET 0) s;
FETCH 1 FROM c;
COMMIT;
-- "ORDER BY something else" sorts sealed values
EXPLAIN (COSTS OFF, VERBOSE) SELECT remark FROM regress_spill_view.parcel ORDER BY branch;
EXPLAIN (COSTS OFF, VERBOSE) SELECT remark, branch FROM regress_spill_view.parcel ORDER BY remark;
SELECT remark, id FROM regress_spill_view.parcel WHERE id < 6 ORDER BY branch, id;

-- masks are no clear text
\c - regress_courier_pii_lister
SET work_mem = '64kB';
SELECT max(length(x)) FROM (SELECT remark || repeat('x', 1000000) AS x FROM regress_spill_view.parcel ORDER BY 1 OFFSET 0) s;
SHOW work_mem;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_spill, regress_spill_view CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clerk', 'note');
DROP ROLE regress_courier_pii_clerk, regress_courier_pii_lister;
