-- How much one person may be shown.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_bob LOGIN;
CREATE ROLE regress_courier_pii_eve LOGIN;
CREATE ROLE regress_courier_pii_desk;
GRANT regress_courier_pii_desk TO regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_eve;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_limit;
CREATE TABLE regress_limit.c (id int PRIMARY KEY, name text, phone text);
INSERT INTO regress_limit.c SELECT i, '王小明', '138' || lpad(i::text, 8, '0') FROM generate_series(1, 1200) i;
SELECT courier_pii.protect_column('regress_limit.c', 'phone', 'phone'), courier_pii.protect_column('regress_limit.c', 'name', 'person_name');
\c - :superuser
CREATE SCHEMA regress_lview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_lview TO PUBLIC;
SELECT courier_pii.create_masked_view('regress_limit.c', 'regress_lview');
GRANT SELECT ON regress_lview.c TO PUBLIC;
SELECT courier_pii.grant_disclosure('regress_courier_pii_desk', 'phone', 'clear');
SELECT courier_pii.set_limit('regress_courier_pii_desk', -1, NULL, NULL);
SELECT courier_pii.set_limit(NULL, 1, NULL, NULL);
SELECT courier_pii.set_limit(:'superuser', 1, NULL, NULL);

-- the default: 1000 a statement
\c - regress_courier_pii_ann
SELECT count(phone LIKE '138%') FROM (SELECT phone FROM regress_lview.c LIMIT 1000) s;
SELECT count(length(phone)) FROM regress_lview.c;
SELECT count(length(name)) FROM regress_lview.c;
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 1000;

-- the hour is 5000: what is left of it
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 1000;
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 1000;
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 1;
\c - regress_courier_pii_ann
SELECT phone FROM regress_lview.c WHERE id = 1;

-- per role, the widest counts, null is unlimited
\c - :superuser
SELECT courier_pii.set_limit('regress_courier_pii_desk', 10, NULL, NULL);
SELECT courier_pii.set_limit('regress_courier_pii_bob', 3, 25, NULL);
SELECT grantee, per_statement, per_hour, per_day FROM courier_pii.limits WHERE grantee::text LIKE 'regress_courier_pii_%' ORDER BY grantee::text;
\c - regress_courier_pii_eve
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 10;
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 11;

-- all ways count alike
\set VERBOSITY terse
SELECT phone FROM regress_lview.c ORDER BY id LIMIT 11;
SELECT string_agg(phone, ',') FROM regress_lview.c WHERE id <= 11;
SELECT array_agg(c) FROM regress_lview.c c WHERE id <= 11;
SELECT json_agg(c) FROM regress_lview.c c WHERE id <= 11;
SELECT id FROM regress_lview.c WHERE phone LIKE '%0001';
SELECT id FROM regress_lview.c ORDER BY phone LIMIT 1;
SELECT DISTINCT left(phone, 3) FROM regress_lview.c;
SELECT (SELECT string_agg(phone, '') FROM regress_lview.c WHERE id <= 6), (SELECT string_agg(phone, '') FROM regress_lview.c WHERE id <= 6);
SELECT query_to_xml('SELECT phone FROM regress_lview.c WHERE id <= 11', true, true, '')::text ~ '138' AS clear;
COPY (SELECT phone FROM regress_lview.c WHERE id <= 11) TO stdout;
COPY regress_lview.c TO stdout;
DO $$ BEGIN FOR i IN 1 .. 11 LOOP PERFORM length(phone) FROM regress_lview.c WHERE id = i; END LOOP; END $$;
CREATE FUNCTION pg_temp.f(i int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT phone FROM regress_lview.c WHERE id = i); END $$;
SELECT count(pg_temp.f(i)) FROM generate_series(1, 11) i;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT length(phone) FROM regress_lview.c WHERE id <= 11;
DO $$
DECLARE n int := 0; r record;
BEGIN
	FOR r IN SELECT phone FROM regress_lview.c LOOP n := n + 1; END LOOP;
EXCEPTION WHEN SQLSTATE 'PI001' THEN
	RAISE NOTICE 'caught';
	PERFORM length(phone) FROM regress_lview.c WHERE id = 1;
END $$;
\set VERBOSITY default

-- the slices of a cursor add up to one statement; the hour adds up too
\c - regress_courier_pii_bob
SELECT count(length(phone)) FROM regress_lview.c WHERE id <= 10;
BEGIN;
DECLARE k CURSOR FOR SELECT id, phone FROM regress_lview.c ORDER BY id;
FETCH 9 FROM k;
FETCH 9 FROM k;
ROLLBACK;
SELECT phone FROM regress_lview.c WHERE id <= 2 ORDER BY id;

-- probes
\c - :superuser
SELECT courier_pii.set_limit('regress_courier_pii_desk', NULL, NULL, NULL);
\c - regress_courier_pii_eve
SELECT count(length(phone)) FROM regress_lview.c;
SELECT count(*) FROM regress_lview.c WHERE phone = ANY (SELECT '139' || lpad(i::text, 8, '0') FROM generate_series(1, 3) i);
SELECT count(*) FROM regress_lview.c WHERE phone = ANY ((SELECT array_agg('138' || lpad(i::text, 8, '0')) FROM generate_series(1, 3) i)::text[]);
DO $$
DECLARE n int := 0;
BEGIN
	FOR i IN 1 .. 1001 LOOP
		n := i;
		PERFORM id FROM regress_lview.c WHERE phone = '138' || lpad(i::text, 8, '0');
	END LOOP;
END $$;
\c - regress_courier_pii_ann
-- a value counts once, in how many rows it is ever made
SELECT count('138'::text::courier_pii.email) FROM generate_series(1, 50);
SELECT count(('138' || i)::courier_pii.email) FROM generate_series(1, 20) i;
SELECT count(('138' || i)::courier_pii.email) FROM generate_series(1, 21) i;

-- superusers: none
\c - :superuser
SELECT phone FROM regress_lview.c WHERE id = 1;

SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_limit, regress_lview CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_desk', 'phone');
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_eve;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_eve, regress_courier_pii_desk;
