-- Disclosure tickets: one person, named rows, some minutes.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_bob LOGIN;
CREATE ROLE regress_courier_pii_cat LOGIN;
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_ann');
SELECT courier_pii.add_org('T64', 'Depot 64', 'depot');
SELECT courier_pii.hire('T64-B', 'Bob', 'regress_courier_pii_bob', 'T64', NULL);
SELECT courier_pii.hire('T64-C', 'Cat', 'regress_courier_pii_cat', 'T64', NULL);
CREATE SCHEMA regress_widen;
CREATE SCHEMA regress_wide_view;
CREATE TABLE regress_widen.t (id int PRIMARY KEY, phone courier_pii.phone, name courier_pii.person_name, idno courier_pii.id_number);
CREATE TABLE regress_widen.u (id int PRIMARY KEY, phone courier_pii.phone);
INSERT INTO regress_widen.t SELECT i, '1380013800' || i, '王小明', '11010519491231002X' FROM generate_series(1, 4) i;
INSERT INTO regress_widen.u SELECT i, '1390013900' || i FROM generate_series(1, 4) i;
SELECT courier_pii.create_masked_view('regress_widen.t', 'regress_wide_view');
SELECT courier_pii.create_masked_view('regress_widen.u', 'regress_wide_view');
GRANT USAGE ON SCHEMA regress_widen, regress_wide_view TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA regress_widen, regress_wide_view TO PUBLIC;

-- bob asks for two rows of one table; cat asks for bob
\c - regress_courier_pii_bob
SELECT courier_pii.request('disclosure', 'complaint 4711', '{"classes": ["phone", "id_number"], "table": "regress_wide_view.t", "key": "id", "values": [1, 3], "minutes": 5}') AS rows \gset
\c - regress_courier_pii_cat
SELECT courier_pii.request('disclosure', 'for a colleague', '{"class": "phone", "tables": ["regress_widen.t", "regress_widen.u"], "beneficiary": "T64-B"}') AS all \gset
\c - regress_courier_pii_bob
SET courier_pii.ticket = :rows;
SELECT * FROM regress_wide_view.t ORDER BY id;
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:rows), courier_pii.approve(:all);
\c - regress_courier_pii_bob
SELECT phone FROM regress_wide_view.t ORDER BY id;
SET courier_pii.ticket = :rows;
SELECT id, name FROM regress_wide_view.t ORDER BY id;
SELECT state FROM courier_pii.requests WHERE id = :rows;
SELECT * FROM regress_wide_view.t ORDER BY id;
SELECT phone FROM regress_wide_view.u ORDER BY id;
-- values of other rows, or taken out of their table, stay masked
SELECT phone::text FROM regress_widen.t ORDER BY id;
SELECT state FROM courier_pii.requests WHERE id = :rows;
-- again, in another session, while the minutes run
\c - regress_courier_pii_bob
SET courier_pii.ticket = :rows;
SELECT phone FROM regress_wide_view.t WHERE id = 3;
-- not a copy, not for others
CREATE TEMP TABLE taken AS SELECT phone FROM regress_wide_view.t WHERE id = 3;
TABLE taken;
SET courier_pii.ticket = :all;
SELECT phone FROM regress_wide_view.u WHERE id = 2;
\c - regress_courier_pii_cat
SET courier_pii.ticket = :all;
SELECT phone FROM regress_wide_view.u WHERE id = 2;
SET courier_pii.ticket = :rows;
SELECT phone FROM regress_wide_view.t WHERE id = 3;
\c - :superuser
SET courier_pii.ticket = :rows;
SELECT phone FROM regress_wide_view.t WHERE id = 3;
-- an entry that hides wins
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'id_number', 'hidden');
\c - regress_courier_pii_bob
SET courier_pii.ticket = :rows;
SELECT phone, idno FROM regress_wide_view.t WHERE id = 1;
-- a revocation holds at the next statement
SELECT phone FROM regress_wide_view.t WHERE id = 1;
\c - regress_courier_pii_ann
SELECT courier_pii.revoke_ticket(:rows);
\c - regress_courier_pii_bob
SET courier_pii.ticket = :rows;
SELECT phone FROM regress_wide_view.t WHERE id = 1;
-- what the owner of a table made runs as nobody else when rows are named
\c - :superuser
SET client_min_messages = error;
GRANT CREATE ON SCHEMA regress_widen TO regress_courier_pii_cat;
\c - regress_courier_pii_cat
SET search_path = regress_widen;
CREATE FUNCTION who(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'my code runs as a superuser'; END IF; RETURN 'x'; END $$;
CREATE TYPE code AS ENUM ('a', 'b');
CREATE FUNCTION code_text(code) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'my cast runs as %', current_user; RETURN 'a'; END $$;
CREATE CAST (code AS text) WITH FUNCTION code_text(code);
CREATE TABLE w (id code PRIMARY KEY, no int NOT NULL, phone courier_pii.phone);
INSERT INTO w VALUES ('a', 1, '13600136001'), ('b', 2, '13600136002');
SET client_min_messages = error;
CREATE INDEX ON w ((no::text || who(1)));
\c - :superuser
SET client_min_messages = error;
SELECT courier_pii.create_masked_view('regress_widen.w', 'regress_wide_view');
GRANT SELECT ON regress_wide_view.w TO regress_courier_pii_bob;
\c - regress_courier_pii_bob
SELECT courier_pii.request('disclosure', 'complaint', '{"class": "phone", "table": "regress_wide_view.w", "key": "id", "values": ["a"], "minutes": 5}') AS by_code,
	courier_pii.request('disclosure', 'complaint', '{"class": "phone", "table": "regress_wide_view.w", "key": "no", "values": [2], "minutes": 5}') AS by_no \gset
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:by_code), courier_pii.approve(:by_no);
\c - regress_courier_pii_bob
SET client_min_messages = error;
SET courier_pii.ticket = :by_code;
SELECT id, phone FROM regress_wide_view.w ORDER BY no;
SET courier_pii.ticket = :by_no;
SELECT id, phone FROM regress_wide_view.w ORDER BY no;
\c - regress_courier_pii_cat
SET client_min_messages = error;
DROP FUNCTION regress_widen.who(int) CASCADE;
\c - :superuser
SET client_min_messages = warning;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_bob', 'id_number');
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_widen, regress_wide_view CASCADE;
SELECT courier_pii.depart('T64-B'), courier_pii.depart('T64-C');
DROP ROLE regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_cat;
