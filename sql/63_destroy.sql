-- Destruction of protected data needs a ticket, whatever the way, for everybody.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_backup LOGIN;
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_ann');
SELECT courier_pii.appoint('pii_backup', 'regress_courier_pii_backup');
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
SET client_min_messages = warning;
CREATE SCHEMA regress_destroy;
SET search_path = regress_destroy;
CREATE TABLE plain (id int, phone text);
INSERT INTO plain SELECT i, '138' FROM generate_series(1, 2000) i;
CREATE TABLE few (id int PRIMARY KEY, phone courier_pii.phone, name courier_pii.person_name);
CREATE TABLE none (id int PRIMARY KEY, phone courier_pii.phone);
CREATE TABLE many (id int PRIMARY KEY, phone courier_pii.phone);
CREATE TABLE child (id int REFERENCES many ON DELETE CASCADE, phone courier_pii.phone);
CREATE TABLE parts (day date, phone courier_pii.phone) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO few SELECT i, '138' || lpad(i::text, 8, '0'), '王小明' FROM generate_series(1, 10) i;
INSERT INTO many SELECT i, '139' || lpad(i::text, 8, '0') FROM generate_series(1, 1500) i;
INSERT INTO parts SELECT date '2026-01-05' + 31 * (i % 2), '137' || lpad(i::text, 8, '0') FROM generate_series(1, 6) i;
CREATE MATERIALIZED VIEW copied AS SELECT id, phone FROM few;
GRANT ALL ON ALL TABLES IN SCHEMA regress_destroy TO PUBLIC;
GRANT USAGE ON SCHEMA regress_destroy TO PUBLIC;

-- what is not protected, and what is empty, goes freely
TRUNCATE plain;
DROP TABLE plain;
TRUNCATE none;
ALTER TABLE none DROP COLUMN phone;
DROP TABLE none;
-- an owner without a ticket
TRUNCATE few;
TRUNCATE many CASCADE;
TRUNCATE parts;
TRUNCATE ONLY parts_1;
DROP TABLE few CASCADE;
DROP TABLE parts;
DROP MATERIALIZED VIEW copied;
DROP SCHEMA regress_destroy CASCADE;
ALTER TABLE few DROP COLUMN name;
ALTER TABLE parts DROP COLUMN phone;
ALTER TABLE parts DETACH PARTITION parts_1;
DO $$ BEGIN EXECUTE 'TRUNCATE regress_destroy.few'; END $$;
CREATE FUNCTION empty_it() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'TRUNCATE regress_destroy.few';
SELECT empty_it();
-- an update of a native column's definition takes nothing
ALTER TABLE few ADD COLUMN state int;
ALTER TABLE few DROP COLUMN state;
-- the superuser
\c - :superuser
SET client_min_messages = warning;
TRUNCATE regress_destroy.few;
DROP OWNED BY regress_courier_pii_owner CASCADE;
DROP DOMAIN courier_pii.person_name CASCADE;
DROP TYPE courier_pii.sealed CASCADE;
DROP EXTENSION courier_pii CASCADE;
SET session_replication_role = replica;
DELETE FROM regress_destroy.many;
RESET session_replication_role;
\c - regress_courier_pii_owner
SET search_path = regress_destroy;

-- rows: 1 000 a statement, however it is made up
DELETE FROM many;
BEGIN;
DELETE FROM many WHERE id <= 1000;
ROLLBACK;
DELETE FROM many WHERE id <= 1001;
WITH gone AS (DELETE FROM many RETURNING id) SELECT count(*) FROM gone;
WITH gone AS (DELETE FROM many) SELECT 1;
MERGE INTO many USING (SELECT id FROM many) s ON many.id = s.id WHEN MATCHED THEN DELETE;
DO $$ BEGIN FOR i IN 1 .. 1500 LOOP DELETE FROM regress_destroy.many WHERE id = i; END LOOP; END $$;
PREPARE wipe AS DELETE FROM many;
EXECUTE wipe;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) DELETE FROM many;
CREATE TABLE trigger_table (id int);
CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM regress_destroy.many; RETURN NULL; END';
CREATE TRIGGER wipe AFTER INSERT ON trigger_table FOR EACH ROW EXECUTE FUNCTION wipe();
INSERT INTO trigger_table VALUES (1);
-- rows that go by a foreign key count
INSERT INTO child SELECT i, '139' FROM generate_series(1, 900) i;
DELETE FROM many WHERE id <= 900;
SELECT count(*) FROM many;
DELETE FROM child;

-- with a ticket: this table, this person, once
SELECT courier_pii.request('destroy', 'last year', '{"table": "few"}') AS few \gset
SELECT courier_pii.request('destroy', 'last year', '{"tables": ["many", "child"], "max_rows": 1600}') AS many \gset
SELECT courier_pii.request('destroy', 'last year', '{"table": "many", "max_rows": 1200}') AS small \gset
SELECT courier_pii.request('destroy', 'january', '{"table": "parts"}') AS parts \gset
SELECT courier_pii.request('destroy', 'nothing named') AS nothing \gset
SELECT courier_pii.request('copy', 'another kind', '{"table": "few"}') AS copy \gset
SET courier_pii.ticket = 'call 4711';
TRUNCATE few;
SET courier_pii.ticket = '999999999';
TRUNCATE few;
SET courier_pii.ticket = :few;
TRUNCATE few;
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:few), courier_pii.approve(:many), courier_pii.approve(:small), courier_pii.approve(:parts), courier_pii.approve(:nothing), courier_pii.approve(:copy);
SET courier_pii.ticket = :few;
TRUNCATE regress_destroy.few;
\c - regress_courier_pii_owner
SET search_path = regress_destroy;
SET client_min_messages = warning;
SET courier_pii.ticket = :copy;
TRUNCATE few;
SET courier_pii.ticket = :nothing;
TRUNCATE few;
SET courier_pii.ticket = :few;
TRUNCATE many CASCADE;
SET courier_pii.ticket = :small;
DELETE FROM many;
-- a name that is given to another table does not help
BEGIN;
ALTER TABLE few RENAME TO few_away;
ALTER TABLE many RENAME TO few;
SET courier_pii.ticket = :few;
SAVEPOINT s;
TRUNCATE few CASCADE;
ROLLBACK;
SET courier_pii.ticket = :few;
TRUNCATE few;
INSERT INTO few VALUES (1, '13800000001', '王小明');
TRUNCATE few;
SELECT count(*) FROM few;
SET courier_pii.ticket = :many;
DELETE FROM many;
SELECT count(*) FROM many;
SET courier_pii.ticket = :parts;
ALTER TABLE parts DETACH PARTITION parts_1;
DROP TABLE parts_1;
\c - :superuser
SELECT s.state, s.outcome, s.details FROM courier_pii.requests s WHERE id IN (:few, :many, :small, :parts) ORDER BY id;

-- a use that is rolled back has used the ticket
\c - regress_courier_pii_owner
SET search_path = regress_destroy;
SELECT courier_pii.request('destroy', 'rest', '{"object": "regress_destroy.*"}') AS rest \gset
\c - :superuser
SELECT section, item, value FROM courier_pii.request_review(:rest) WHERE section = 'taken';
SELECT courier_pii.approve(:rest);
\c - regress_courier_pii_owner
SET client_min_messages = warning;
SET courier_pii.ticket = :rest;
BEGIN;
DROP SCHEMA regress_destroy CASCADE;
ROLLBACK;
DROP SCHEMA regress_destroy CASCADE;
SELECT state, outcome FROM courier_pii.requests WHERE id = :rest;
-- within a subtransaction
SELECT courier_pii.request('destroy', 'rest', '{"object": "regress_destroy.*"}') AS rest2 \gset
\c - :superuser
SELECT courier_pii.approve(:rest2);
\c - regress_courier_pii_owner
SET client_min_messages = warning;
SET courier_pii.ticket = :rest2;
BEGIN;
SAVEPOINT s;
DROP SCHEMA regress_destroy CASCADE;
ROLLBACK TO s;
COMMIT;
SELECT state, outcome FROM courier_pii.requests WHERE id = :rest2;

-- backups
\c - regress_courier_pii_owner
SELECT courier_pii.register_backup('mine', now());
\c - regress_courier_pii_backup
SELECT courier_pii.register_backup('weekly', NULL);
SELECT courier_pii.register_backup('weekly', now() + interval '1 hour');
SELECT courier_pii.register_backup('weekly', '2026-01-02', verified_at => '2026-01-01');
SELECT courier_pii.register_backup('weekly', '2026-01-02 03:00+08', 'vault 2') AS backup \gset
SELECT courier_pii.register_backup('weekly', '2026-01-02 03:00+08', verified_at => '2026-01-02 09:00+08', restore_tested_at => '2026-01-03 09:00+08') = :backup AS same;
SELECT label, location, verified_at IS NOT NULL AS verified, restore_tested_at IS NOT NULL AS tested, registered_by FROM courier_pii.backups;

-- the time of day
\c - :superuser
SET client_min_messages = warning;
ALTER SYSTEM SET courier_pii.destroy_window = '25:00-26:00';
ALTER SYSTEM SET courier_pii.destroy_window = 'at night';

-- every attempt is in the records
CREATE ROLE regress_courier_pii_eve LOGIN;
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_eve');
\c - regress_courier_pii_eve
SELECT courier_pii.audit_flush();
SELECT action, outcome, sqlstate, command, relations FROM courier_pii.audit_log
WHERE login_role = 'regress_courier_pii_owner' AND relations && '{regress_destroy.few}' AND command = 'TRUNCATE TABLE'
ORDER BY seq;
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_destroy CASCADE;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_backup, regress_courier_pii_eve;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_backup, regress_courier_pii_eve;
