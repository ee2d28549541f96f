-- Protecting columns that foreign keys connect: they go together, and the keys
-- stay with all that they do.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_keys LOGIN;
CREATE ROLE regress_courier_pii_other;
CREATE ROLE regress_courier_pii_desk LOGIN;
CREATE ROLE regress_courier_pii_seer LOGIN;
SELECT courier_pii.create_class('box_no', 'hidden', true) > 0 AS made;
SELECT courier_pii.grant_disclosure('regress_courier_pii_seer', 'waybill_no', 'clear'), courier_pii.grant_disclosure('regress_courier_pii_keys', 'waybill_no', 'masked', true);
CREATE SCHEMA regress_keys AUTHORIZATION regress_courier_pii_keys;
GRANT USAGE, CREATE ON SCHEMA regress_keys TO regress_courier_pii_other;
GRANT USAGE ON SCHEMA regress_keys TO regress_courier_pii_desk, regress_courier_pii_seer;
RESET client_min_messages;
\c - regress_courier_pii_keys
SET search_path = regress_keys;

-- ---- what stands against any of the columns is told before anything begins ----
CREATE TABLE a (no varchar(20) PRIMARY KEY, n numeric UNIQUE);
CREATE TABLE b (no text CONSTRAINT b_a REFERENCES a CHECK (no <> ''), n numeric CONSTRAINT b_n REFERENCES a (n));
CREATE TABLE c (id int, no text UNIQUE CONSTRAINT c_a REFERENCES a);
CREATE TABLE d (no text DEFAULT lower('X') CONSTRAINT d_c REFERENCES c (no));
CREATE VIEW uses_d AS SELECT no FROM d;
CREATE INDEX c_lower ON c (lower(no));
CALL courier_pii.protect_column_online('d', 'no', 'waybill_no');
SELECT courier_pii.protect_column('a', 'no', 'waybill_no');
-- a class that cannot be compared, and texts that differ but are equal
CALL courier_pii.protect_column_online('b', 'no', 'note');
CALL courier_pii.protect_column_online('b', 'n', 'account_no');
SELECT courier_pii.protect_column('a', 'no', 'waybill_no', 'the key of pgcrypto');
DROP VIEW uses_d;
DROP INDEX c_lower;
ALTER TABLE b DROP CONSTRAINT b_no_check;
ALTER TABLE d ALTER no DROP DEFAULT;
-- the search tags of this class end with their epoch
\c - :superuser
SELECT courier_pii.set_search_scope('box_no', 'epoch') > 0 AS done;
SET search_path = regress_keys;
SET ROLE regress_courier_pii_keys;
CALL courier_pii.protect_column_online('b', 'no', 'box_no');
RESET ROLE;
-- a table of another owner, and triggers that were switched off
CREATE TABLE e (no text CONSTRAINT e_a REFERENCES a);
ALTER TABLE c DISABLE TRIGGER ALL;
SET ROLE regress_courier_pii_keys;
CALL courier_pii.protect_column_online('a', 'no', 'waybill_no');
SELECT courier_pii.protect_column('b', 'no', 'waybill_no');
RESET ROLE;
DROP TABLE e;
SET ROLE regress_courier_pii_keys;
CALL courier_pii.protect_column_online('b', 'no', 'waybill_no');
RESET ROLE;
ALTER TABLE c ENABLE TRIGGER ALL;
SET ROLE regress_courier_pii_keys;
-- two columns of one index cannot both be filled beside it; one ALTER can do it
CREATE TABLE f (no text UNIQUE, of_no text CONSTRAINT f_f REFERENCES f (no), UNIQUE (no, of_no));
INSERT INTO f VALUES ('SF100', NULL), ('SF101', 'SF100');
CALL courier_pii.protect_column_online('f', 'of_no', 'waybill_no');
SELECT courier_pii.protect_columns('f', '{"no": "waybill_no", "of_no": "phone"}');
-- nothing was begun
SELECT count(*) FROM pg_attribute WHERE attrelid IN ('a'::regclass, 'b'::regclass, 'c'::regclass, 'd'::regclass, 'f'::regclass) AND attname ~ 'courier_pii';
SELECT courier_pii.protect_columns('f', '{"no": "waybill_no", "of_no": "waybill_no"}');
INSERT INTO f VALUES ('SF102', 'SF-101');
\set VERBOSITY terse
INSERT INTO f VALUES ('SF103', 'SF109');
\set VERBOSITY default

-- ---- one ALTER for each table ----
INSERT INTO a VALUES ('SF1'), ('SF2'), ('SF3');
INSERT INTO b VALUES ('SF1'), (NULL);
INSERT INTO c VALUES (1, 'SF1'), (2, 'SF2');
INSERT INTO d VALUES ('SF2');
SELECT courier_pii.protect_column('c', 'no', 'waybill_no');
SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'f' AND connamespace = 'regress_keys'::regnamespace ORDER BY 1;
\set VERBOSITY terse
INSERT INTO d VALUES ('SF3');
INSERT INTO c VALUES (3, 'sf 3');
INSERT INTO d VALUES ('SF3');
DELETE FROM a WHERE no = 'SF2';
SELECT courier_pii.protect_column('a', 'no', 'waybill_no');
\set VERBOSITY default
-- and not back, while the keys compare sealed values
\c - :superuser
SELECT courier_pii.unprotect_column('regress_keys.a', 'no');
SELECT courier_pii.unprotect_column('regress_keys.d', 'no');
\c - regress_courier_pii_keys
SET search_path = regress_keys;

-- what the owner compares other columns of a key with runs as the owner, whoever calls
CREATE TYPE place AS (n int);
CREATE FUNCTION place_no(place) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF current_user <> 'regress_courier_pii_keys' THEN RAISE EXCEPTION 'my code runs as %', current_user; END IF; RETURN $1.n; END $$;
CREATE CAST (place AS int) WITH FUNCTION place_no(place) AS IMPLICIT;
CREATE TABLE g (r int, no text, UNIQUE (r, no));
CREATE TABLE h (r place, no text, CONSTRAINT h_g FOREIGN KEY (r, no) REFERENCES g (r, no));
INSERT INTO g VALUES (1, 'SF1');
INSERT INTO h VALUES (ROW(1), 'SF1'), (NULL, 'SF2');
CREATE TABLE i AS SELECT * FROM g;
ALTER TABLE i ADD UNIQUE (r, no);
CREATE TABLE j AS SELECT * FROM h;
ALTER TABLE j ADD CONSTRAINT j_i FOREIGN KEY (r, no) REFERENCES i (r, no);
\c - :superuser
SELECT courier_pii.protect_column('regress_keys.h', 'no', 'waybill_no');
CALL courier_pii.protect_column_online('regress_keys.j', 'no', 'waybill_no');
\c - regress_courier_pii_keys
SET search_path = regress_keys;
\set VERBOSITY terse
INSERT INTO h VALUES (ROW(2), 'SF1');
INSERT INTO j VALUES (ROW(2), 'SF1');
INSERT INTO j VALUES (ROW(1), 'SF1');
\set VERBOSITY default

-- inheriting tables: each has its own key, and the column is protected where it comes from
CREATE TABLE w (no text PRIMARY KEY);
CREATE TABLE par (id int, no text CONSTRAINT par_w REFERENCES w);
CREATE TABLE kid (CONSTRAINT kid_w FOREIGN KEY (no) REFERENCES w ON DELETE CASCADE) INHERITS (par);
INSERT INTO w VALUES ('SF1'), ('SF2'), ('SF 2');
INSERT INTO par VALUES (1, 'SF1');
INSERT INTO kid VALUES (2, 'SF2');
CALL courier_pii.protect_column_online('kid', 'no', 'waybill_no');
-- two numbers that are one; meanwhile nothing else may protect them, and tables and indexes come and go
CREATE TABLE gone (no text REFERENCES w);
CREATE TABLE two (no text UNIQUE CONSTRAINT two_w REFERENCES w, of_no text CONSTRAINT two_of REFERENCES two (no));
CREATE INDEX two_no ON two (no);
CALL courier_pii.protect_column_online('w', 'no', 'waybill_no');
DELETE FROM w WHERE no = 'SF 2';
SELECT courier_pii.protect_column('par', 'no', 'waybill_no');
DROP TABLE gone;
CREATE INDEX two_both ON two (no, of_no);
CALL courier_pii.protect_column_online('w', 'no', 'waybill_no');
DROP INDEX two_both, two_no;
CALL courier_pii.protect_column_online('two', 'of_no', 'waybill_no');
SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'regress_keys'::regnamespace AND c.relname IN ('w', 'par', 'kid', 'two') ORDER BY 1;
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'f' AND conrelid IN ('par'::regclass, 'kid'::regclass, 'two'::regclass) ORDER BY conname;
DELETE FROM w WHERE no = 'SF2';
SELECT count(*) FROM par;

-- ---- online: with every kind of key ----
CREATE TABLE waybill (
	id int PRIMARY KEY, region text NOT NULL, waybill_no varchar(20) NOT NULL UNIQUE, phone text,
	return_of varchar(20) CONSTRAINT waybill_return REFERENCES waybill (waybill_no) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
	UNIQUE (region, waybill_no));
CREATE TABLE tracking (id int PRIMARY KEY, waybill_no text NOT NULL CONSTRAINT tracking_no REFERENCES waybill (waybill_no) ON UPDATE CASCADE ON DELETE CASCADE, at text);
CREATE INDEX tracking_by_no ON tracking (waybill_no);
CREATE TABLE delivery_task (id int PRIMARY KEY, courier text, waybill_no char(20) DEFAULT 'SF1000' CONSTRAINT task_no REFERENCES waybill (waybill_no) ON DELETE SET NULL);
CREATE INDEX task_by_no ON delivery_task (waybill_no);
CREATE TABLE item (id int PRIMARY KEY, reg text, waybill_no text, CONSTRAINT item_no FOREIGN KEY (reg, waybill_no) REFERENCES waybill (region, waybill_no) MATCH FULL);
CREATE TABLE claim (id int PRIMARY KEY, waybill_no text, amount int);
CREATE TABLE scan (id int, day date, waybill_no text CONSTRAINT scan_no REFERENCES waybill (waybill_no) ON DELETE CASCADE) PARTITION BY RANGE (day);
CREATE TABLE scan_1 PARTITION OF scan FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE scan_2 PARTITION OF scan FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE scan_2a PARTITION OF scan_2 DEFAULT;
-- and a partitioned table that is referenced
CREATE TABLE ticket (day date, no text CONSTRAINT ticket_no REFERENCES waybill (waybill_no), PRIMARY KEY (day, no)) PARTITION BY RANGE (day);
CREATE TABLE ticket_1 PARTITION OF ticket FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ticket_2 PARTITION OF ticket FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE reply (id int, day date, no text, CONSTRAINT reply_no FOREIGN KEY (day, no) REFERENCES ticket ON DELETE CASCADE);
INSERT INTO waybill SELECT i, 'R' || i % 3, 'SF' || 1000 + i, 13800000000 + i, CASE WHEN i % 10 = 0 AND i > 0 THEN 'SF' || 999 + i END FROM generate_series(0, 500) i;
INSERT INTO tracking SELECT i, 'SF' || 1000 + i % 500, 'hub' FROM generate_series(1, 1200) i;
INSERT INTO delivery_task SELECT i, 'K' || i % 7, 'SF' || 1000 + i FROM generate_series(1, 400) i;
INSERT INTO item SELECT i, 'R' || i % 3, 'SF' || 1000 + i FROM generate_series(1, 300) i;
INSERT INTO claim VALUES (1, 'SF1001', 5), (2, 'SF9999', 7);
ALTER TABLE claim ADD CONSTRAINT claim_no FOREIGN KEY (waybill_no) REFERENCES waybill (waybill_no) NOT VALID;
INSERT INTO scan SELECT i, '2026-01-10', 'SF' || 1000 + i FROM generate_series(1, 100) i;
INSERT INTO scan SELECT i, '2026-02-10', 'SF' || 1000 + i FROM generate_series(101, 200) i;
INSERT INTO ticket SELECT '2026-01-10', 'SF' || 1000 + i FROM generate_series(1, 100) i;
INSERT INTO ticket SELECT '2026-02-10', 'SF' || 1000 + i FROM generate_series(1, 100) i;
INSERT INTO reply SELECT i, '2026-02-10', 'SF' || 1000 + i FROM generate_series(1, 100) i;
COMMENT ON CONSTRAINT tracking_no ON tracking IS 'events of a waybill';
COMMENT ON CONSTRAINT item_no ON item IS 'of the same region';
SELECT courier_pii.create_masked_view('waybill', 'regress_keys_view', move_grants => true), courier_pii.create_masked_view('tracking', 'regress_keys_view'),
	courier_pii.create_masked_view('delivery_task', 'regress_keys_view');
\c - :superuser
SET search_path = regress_keys;
SELECT courier_pii.set_row_rule('tracking', 'regress_courier_pii_desk', 'of_tasks', '{waybill_no in delivery_task.waybill_no where courier = ''K1''}');
GRANT USAGE ON SCHEMA regress_keys_view TO regress_courier_pii_desk, regress_courier_pii_seer;
GRANT SELECT, INSERT, UPDATE, DELETE ON regress_keys_view.waybill, regress_keys_view.tracking, regress_keys_view.delivery_task TO regress_courier_pii_desk, regress_courier_pii_seer;
SELECT md5(string_agg(conrelid::regclass || conname || pg_get_constraintdef(oid) || convalidated || coalesce(obj_description(oid, 'pg_constraint'), ''), ',' ORDER BY conname)) AS keys
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'regress_keys'::regnamespace AND conparentid = 0 \gset

-- rows that the key misses were written where it was not enforced: told while clear text is there
SET session_replication_role = replica;
INSERT INTO tracking VALUES (5000, 'SF7777', 'lost');
RESET session_replication_role;
SET ROLE regress_courier_pii_keys;
CALL courier_pii.protect_column_online('delivery_task', 'waybill_no', 'waybill_no');
RESET ROLE;
SELECT relid, col, phase, pid IS NULL AS idle FROM courier_pii.stat_progress_protect ORDER BY relid::regclass::text COLLATE "C", col;
SET ROLE regress_courier_pii_keys;
-- any of the columns stands for all of them
CALL courier_pii.protect_column_online('scan', 'waybill_no', 'phone');
CALL courier_pii.cancel_protect('item', 'waybill_no');
CALL courier_pii.cancel_protect('waybill', 'return_of');
SELECT count(*) AS left_over FROM pg_attribute WHERE attname ~ 'courier_pii_sealed' AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'regress_keys'::regnamespace AND relkind IN ('r', 'p')) AND NOT attisdropped;
SELECT count(*) AS left_over FROM pg_trigger WHERE tgname ~ 'courier_pii' AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'regress_keys'::regnamespace);
CALL courier_pii.protect_column_online('tracking', 'waybill_no', 'waybill_no');
-- meanwhile clear and sealed values go together, and the keys do what they do
UPDATE waybill SET waybill_no = 'SF2222' WHERE waybill_no = 'SF1459';
DELETE FROM waybill WHERE waybill_no = 'SF1334';
UPDATE tracking SET waybill_no = 'SF1001' WHERE waybill_no = 'SF1002';
\set VERBOSITY terse
INSERT INTO tracking (id, waybill_no) VALUES (5001, 'SF7778');
\set VERBOSITY default
-- a key that leads to another column now must not be lost
CREATE TABLE late (no text CONSTRAINT late_no REFERENCES waybill (waybill_no));
CALL courier_pii.protect_column_online('waybill', 'waybill_no', 'waybill_no');
DROP TABLE late;
DELETE FROM tracking WHERE id = 5000;
CALL courier_pii.protect_column_online('ticket', 'no', 'waybill_no');
SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, -1), a.attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'regress_keys'::regnamespace AND c.relkind IN ('r', 'p') AND (a.attname IN ('waybill_no', 'return_of', 'no') OR a.attname ~ 'courier_pii') AND NOT a.attisdropped ORDER BY c.relname COLLATE "C", 2;
\c - regress_courier_pii_keys
SET search_path = regress_keys;
SELECT md5(string_agg(conrelid::regclass || conname || pg_get_constraintdef(oid) || convalidated || coalesce(obj_description(oid, 'pg_constraint'), ''), ',' ORDER BY conname)) = :'keys' AS same
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'regress_keys'::regnamespace AND conparentid = 0;
SELECT conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE contype = 'f' AND conrelid IN ('item'::regclass, 'claim'::regclass, 'waybill'::regclass, 'tracking'::regclass) ORDER BY conname;
SELECT conrelid::regclass, confrelid::regclass, convalidated FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'regress_keys'::regnamespace AND conparentid <> 0 ORDER BY 1, 2;
SELECT count(*) FROM waybill w WHERE return_of IS NOT NULL AND NOT EXISTS (SELECT 1 FROM waybill v WHERE v.waybill_no = w.return_of);
-- what went along while they were filled
SELECT count(*) FROM tracking WHERE waybill_no = 'SF2222';
SELECT count(*) FROM tracking WHERE waybill_no IN ('SF1459', 'SF1334', 'SF1002');
SELECT count(*) FROM tracking WHERE waybill_no = 'SF1001';
SELECT id FROM waybill WHERE return_of = 'SF2222';

-- ---- the keys at work on sealed values ----
-- a message tells no clear text
DO $$
DECLARE text_of text;
BEGIN
	INSERT INTO regress_keys.tracking (id, waybill_no) VALUES (6000, 'SF8888');
EXCEPTION WHEN foreign_key_violation THEN
	GET STACKED DIAGNOSTICS text_of = PG_EXCEPTION_DETAIL;
	RAISE NOTICE 'ciphertext %, clear text %', text_of ~ 'Key \(waybill_no\)=\(pii:[A-Za-z0-9_-]+\) is not present in table "waybill"', text_of ~ '8888';
END $$;
DO $$
DECLARE text_of text;
BEGIN
	DELETE FROM regress_keys.waybill WHERE id = 1;
EXCEPTION WHEN foreign_key_violation THEN
	GET STACKED DIAGNOSTICS text_of = PG_EXCEPTION_DETAIL;
	RAISE NOTICE 'ciphertext %, clear text %', text_of ~ 'pii:[A-Za-z0-9_-]+\) is still referenced', text_of ~ '1001';
END $$;
\set VERBOSITY terse
INSERT INTO item (id, reg, waybill_no) VALUES (900, 'R1', 'SF1002');
INSERT INTO item (id, reg, waybill_no) VALUES (900, NULL, 'SF1002');
INSERT INTO item (id, reg, waybill_no) VALUES (900, 'R2', 'sf 1002');
INSERT INTO claim (id, waybill_no) VALUES (3, 'SF9998');
INSERT INTO scan (id, day, waybill_no) VALUES (900, '2026-01-20', 'SF9998');
INSERT INTO scan (id, day, waybill_no) VALUES (900, '2026-02-20', 'SF9998');
INSERT INTO reply (id, day, no) VALUES (900, '2026-01-10', 'SF9998');
ALTER TABLE claim VALIDATE CONSTRAINT claim_no;
UPDATE waybill SET return_of = 'SF9998' WHERE id = 400;
-- what it refers to comes later in the transaction
BEGIN;
INSERT INTO waybill (id, region, waybill_no, return_of) VALUES (800, 'R1', 'SF1800', 'SF1801');
INSERT INTO waybill (id, region, waybill_no) VALUES (801, 'R1', 'SF1801');
COMMIT;
BEGIN;
INSERT INTO waybill (id, region, waybill_no, return_of) VALUES (802, 'R1', 'SF1802', 'SF1999');
COMMIT;
\set VERBOSITY default
-- cascades, nulls and a default
UPDATE waybill SET waybill_no = 'SF3333' WHERE waybill_no = 'SF1469';
SELECT count(*) FROM tracking WHERE waybill_no = 'SF3333';
SELECT id FROM waybill WHERE return_of = 'SF3333';
DELETE FROM waybill WHERE waybill_no = 'SF1351';
SELECT count(*) FROM tracking WHERE waybill_no = 'SF1351';
SELECT count(*) FROM delivery_task WHERE waybill_no IS NULL;
DELETE FROM ticket WHERE day = '2026-02-10' AND no = 'SF1100';
SELECT count(*) FROM reply;
INSERT INTO delivery_task (id, courier) VALUES (900, 'K1');
SELECT count(*) FROM delivery_task WHERE waybill_no = 'SF1000';
-- a new partition has the key
CREATE TABLE scan_3 PARTITION OF scan FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
\set VERBOSITY terse
INSERT INTO scan (id, day, waybill_no) VALUES (900, '2026-03-20', 'SF9998');
\set VERBOSITY default
INSERT INTO scan (id, day, waybill_no) VALUES (900, '2026-03-20', 'SF1400');
-- its own queries find the index on either side
ANALYZE tracking, waybill;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
PREPARE referring(courier_pii.waybill_no) AS SELECT 1 FROM ONLY tracking x WHERE waybill_no = $1 FOR KEY SHARE OF x;
PREPARE referred(courier_pii.waybill_no) AS SELECT 1 FROM ONLY waybill x WHERE waybill_no = $1 FOR KEY SHARE OF x;
EXPLAIN (COSTS off) EXECUTE referring(NULL);
EXPLAIN (COSTS off) EXECUTE referred(NULL);
RESET plan_cache_mode;
RESET enable_seqscan;

-- ---- who may see nothing and search nothing writes under the keys; they count nothing ----
\c - regress_courier_pii_desk
SET search_path = regress_keys_view;
\set VERBOSITY terse
INSERT INTO tracking (id, waybill_no, at) VALUES (7000, 'SF1008', 'desk');
INSERT INTO tracking (id, waybill_no, at) VALUES (7001, 'SF7005', 'desk');
INSERT INTO waybill (id, region, waybill_no) VALUES (7000, 'R1', 'SF7000');
INSERT INTO tracking (id, waybill_no, at) VALUES (7002, 'SF7000', 'desk');
UPDATE tracking SET waybill_no = 'SF7006' WHERE id = 7000;
UPDATE tracking SET at = 'yard' WHERE id = 7000;
SELECT id, waybill_no, at FROM tracking WHERE id = 7000;
SELECT id FROM tracking WHERE waybill_no = 'SF1008';
DELETE FROM waybill WHERE id = 7000;
\c - :superuser
SELECT count(*) FROM regress_keys.tracking WHERE id = 7002;
SELECT p.hour_disclosed, p.hour_probes FROM courier_pii.stat_person p WHERE p.login_role::text = 'regress_courier_pii_desk';
\c - regress_courier_pii_seer
SET search_path = regress_keys_view;
SELECT count(*) FROM waybill WHERE waybill_no ~ '^SF1\d\d\d$';
-- written back unchanged, the value stays as it is, and so do those that refer to it
UPDATE waybill SET waybill_no = waybill_no, region = region WHERE id = 5;

-- ---- sealed anew: no key fires, nothing else is rewritten ----
\c - :superuser
SET search_path = regress_keys;
SELECT count(*) FROM tracking t JOIN waybill w USING (waybill_no) WHERE w.id = 5;
SELECT md5(string_agg(t::text, ',' ORDER BY id)) AS before FROM tracking t \gset
SELECT courier_pii.new_epoch('waybill_no') > 1 AS new_epoch;
CALL courier_pii.reseal('waybill', 'waybill_no', 100);
SELECT count(DISTINCT courier_pii.sealed_epoch(waybill_no)) AS epochs FROM waybill;
SELECT md5(string_agg(t::text, ',' ORDER BY id)) = :'before' AS same FROM tracking t;
SELECT count(*) AS orphans FROM tracking t WHERE NOT EXISTS (SELECT 1 FROM waybill w WHERE w.waybill_no = t.waybill_no);
\set VERBOSITY terse
INSERT INTO tracking (id, waybill_no) VALUES (7100, 'SF1006');
INSERT INTO tracking (id, waybill_no) VALUES (7101, 'SF7106');
\set VERBOSITY default
UPDATE waybill SET waybill_no = 'SF4444' WHERE id = 480;
SELECT count(*) FROM tracking WHERE waybill_no = 'SF4444';
CALL courier_pii.reseal('tracking', 'waybill_no');
-- keys compare its values: its tags must not end with an epoch
SELECT courier_pii.set_search_scope('waybill_no', 'epoch');

-- nothing of the clear text is in any of the files
CHECKPOINT;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'regress_keys'::regnamespace AND c.relkind IN ('r', 'i') AND c.relname !~ '^([a-jw]|par|kid|two)($|_)'
	AND pg_read_binary_file(pg_relation_filepath(c.oid))::text ~ '5346313[0-9]3[0-9]3[0-9]';
SELECT count(*) FROM courier_pii.column_job;

SET client_min_messages = error;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_seer', 'waybill_no');
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_keys, regress_keys_view CASCADE;
DROP OWNED BY regress_courier_pii_keys, regress_courier_pii_other, regress_courier_pii_desk, regress_courier_pii_seer;
DROP ROLE regress_courier_pii_keys, regress_courier_pii_other, regress_courier_pii_desk, regress_courier_pii_seer;
