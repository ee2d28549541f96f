-- Protecting columns of tables that are in use: what is kept, what is refused,
-- and what is left of the clear text.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_reader LOGIN;
CREATE SCHEMA regress_online AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_online TO regress_courier_pii_reader;
RESET client_min_messages;
\c - regress_courier_pii_owner
SET search_path = regress_online;
CREATE TABLE t (
	id int PRIMARY KEY,
	phone varchar(20) NOT NULL DEFAULT '10086',
	name text,
	no char(14) CONSTRAINT t_no UNIQUE DEFERRABLE INITIALLY DEFERRED,
	body text,
	at date
);
CREATE INDEX t_phone ON t (phone);
CREATE UNIQUE INDEX t_phone_id ON t (phone, id);
CREATE INDEX t_hash ON t USING hash (phone);
COMMENT ON COLUMN t.phone IS 'the phone';
COMMENT ON INDEX t_phone IS 'by phone';
COMMENT ON CONSTRAINT t_no ON t IS 'one number, one row';
ALTER TABLE t ALTER phone SET STATISTICS 321;
ALTER TABLE t CLUSTER ON t_phone;
ALTER TABLE t REPLICA IDENTITY USING INDEX t_phone_id;
GRANT SELECT (phone), UPDATE (phone) ON t TO regress_courier_pii_reader;
-- a trigger of the company that must not fire for our batches
CREATE TABLE fired (n int);
CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_online.fired VALUES (1); RETURN NEW; END $$;
CREATE TRIGGER counts AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION count_it();
INSERT INTO t SELECT i, 13800000000 + i, '王小' || i, 'SF' || 100000000000 + i, CASE WHEN i % 7 > 0 THEN repeat('canary-' || i || '-', 400) END, date '2026-11-01' FROM generate_series(1, 1500) i;
ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
UPDATE t SET body = body || 'x' WHERE id < 100;
INSERT INTO t VALUES (0, '13800000777*', '', 'short', 'a*', NULL);
DELETE FROM fired;
CREATE VIEW digest AS SELECT count(*), md5(string_agg(id || ',' || coalesce(name, '-') || at, ';' ORDER BY id)) FROM t;
SELECT md5(string_agg(phone || no::text || coalesce(body, '-'), ';' ORDER BY id)) AS before FROM t \gset
SELECT * FROM digest \gset

-- refusals name everything at once, and change nothing
ALTER TABLE t ADD checked text CHECK (checked <> ''), ADD made text DEFAULT lower('X');
CREATE VIEW shows AS SELECT checked FROM t;
CREATE INDEX t_lower ON t (lower(checked));
CREATE INDEX t_checked ON t (checked text_pattern_ops);
CREATE FUNCTION mentions() RETURNS text LANGUAGE sql AS $$ SELECT max(phone) FROM regress_online.t $$;
CALL courier_pii.protect_column_online('t', 'checked', 'note');
CALL courier_pii.protect_column_online('t', 'made', 'email');
CALL courier_pii.protect_column_online('t', 'phone', 'address');
CALL courier_pii.protect_column_online('t', 'phone', 'shoe_size');
CALL courier_pii.protect_column_online('t', 'nothing', 'phone');
CALL courier_pii.protect_column_online('t', 'phone', 'phone', 0);
CALL courier_pii.protect_column_online('t', NULL, 'phone');
CALL courier_pii.protect_column_online('digest', 'count', 'phone');
CALL courier_pii.protect_column_online(1::regclass, 'count', 'phone');
BEGIN;
CALL courier_pii.protect_column_online('t', 'phone', 'phone');
ROLLBACK;
DO $$ BEGIN CALL courier_pii.protect_column_online('regress_online.t', 'phone', 'phone'); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
CALL courier_pii.cancel_protect('t', 'phone');
CREATE TEMP TABLE tt (phone text);
CALL courier_pii.protect_column_online('tt', 'phone', 'phone');
\c - regress_courier_pii_reader
CALL courier_pii.protect_column_online('regress_online.t', 'phone', 'phone');
\c - :superuser
SELECT count(*) FROM courier_pii.column_job;
SELECT attname FROM pg_attribute WHERE attrelid = 'regress_online.t'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;

-- three columns, one after the other; the view shows them in their places
\c - regress_courier_pii_owner
SET search_path = regress_online;
SET default_transaction_isolation = 'serializable';
DROP VIEW shows;
SELECT courier_pii.create_masked_view('t', 'regress_online_view');
CALL courier_pii.protect_column_online('t', 'phone', 'phone', 100);
CALL courier_pii.protect_column_online('t', 'no', 'waybill_no');
CALL courier_pii.protect_column_online('t', 'body', 'note', 7);
CALL courier_pii.protect_column_online('t', 'phone', 'phone');
RESET default_transaction_isolation;
SELECT attname, format_type(atttypid, atttypmod), attnotnull, nullif(attstattarget, -1) AS attstattarget, attacl::text ~ 'regress_courier_pii_reader=rw' AS granted, col_description(attrelid, attnum)
FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT attname FROM pg_attribute WHERE attrelid = 'regress_online_view.t'::regclass AND attnum > 0 ORDER BY attnum;
SELECT c.relname, am.amname, i.indisunique, i.indisvalid, i.indisclustered, i.indisreplident, obj_description(c.oid, 'pg_class')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam WHERE i.indrelid = 't'::regclass ORDER BY 1;
SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid = 't'::regclass AND contype <> 'n' ORDER BY 1;
SELECT tgname FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal;
SELECT count(*) AS fired FROM fired;
SELECT count = :count AND md5 = :'md5' AS same FROM digest;
SELECT pg_get_expr(adbin, adrelid) LIKE '%10086%' AS plain_default FROM pg_attrdef WHERE adrelid = 't'::regclass;
INSERT INTO t (id) VALUES (-1);
\set VERBOSITY terse
INSERT INTO t (id, no) VALUES (-2, 'SF100000000001');
INSERT INTO t (id, phone) VALUES (-2, NULL);
\set VERBOSITY default
\c - :superuser
SELECT count(*) FROM courier_pii.column_job;
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_reader', c, 'clear')) FROM unnest('{phone,waybill_no,note}'::text[]) c;
SELECT courier_pii.set_limit('regress_courier_pii_reader', NULL, NULL, NULL);
GRANT SELECT ON regress_online.t TO regress_courier_pii_reader;
\c - regress_courier_pii_reader
SELECT md5(string_agg(phone::text || no::text || coalesce(body::text, '-'), ';' ORDER BY id)) = :'before' AS same FROM regress_online.t WHERE id >= 0;
SELECT id, phone::text, no::text, body::text FROM regress_online.t WHERE id < 1 ORDER BY id;

-- nothing of the clear text is in the table's files
\c - :superuser
CHECKPOINT;
SELECT bool_or(pg_read_binary_file(pg_relation_filepath(oid))::text ~ (encode('1380000', 'hex') || '|' || encode('SF1000', 'hex') || '|' || encode('canary', 'hex'))) AS left_over
FROM pg_class WHERE oid IN (SELECT 'regress_online.t'::regclass UNION SELECT reltoastrelid FROM pg_class WHERE oid = 'regress_online.t'::regclass
	UNION SELECT indexrelid FROM pg_index WHERE indrelid = 'regress_online.t'::regclass);

-- a cancelled job leaves the table as it was
SET ROLE regress_courier_pii_owner;
SET search_path = regress_online;
CREATE TABLE c (id int, phone text);
INSERT INTO c VALUES (1, '13800000001');
CREATE UNIQUE INDEX c_phone ON c (phone);
INSERT INTO c VALUES (2, '138 0000 0001');
CALL courier_pii.protect_column_online('c', 'phone', 'phone');
RESET ROLE;
SELECT relid, col, phase, rows_done, pid FROM courier_pii.stat_progress_protect;
SET ROLE regress_courier_pii_owner;
CALL courier_pii.protect_column_online('c', 'phone', 'unit_name');
-- meanwhile both columns go together, whatever writes
INSERT INTO c VALUES (3, '13800000003');
UPDATE c SET phone = '13800000004' WHERE id = 3;
UPDATE c SET id = 5 WHERE id = 3;
UPDATE c SET courier_pii_sealed_2 = NULL WHERE id = 5;
SELECT id, phone, courier_pii_sealed_2 = phone AS equal FROM c WHERE courier_pii.tail4(courier_pii_sealed_2) = courier_pii.tail4_of('phone', '0004');
RESET ROLE;
SELECT id, phone, courier_pii_sealed_2 = phone AS equal FROM c ORDER BY id;
SET ROLE regress_courier_pii_owner;
CALL courier_pii.cancel_protect('c', 'phone');
\d c
SELECT * FROM c ORDER BY id;
-- the two are one value; without one of them it goes through
CALL courier_pii.protect_column_online('c', 'phone', 'phone');
DELETE FROM c WHERE id = 2;
CALL courier_pii.protect_column_online('c', 'phone', 'phone');
\d c

-- partitions, two levels, with indexes and a constraint; children
CREATE TABLE p (id int, at int, phone text NOT NULL DEFAULT 'none', UNIQUE (id, at, phone)) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (phone text NOT NULL, junk int, at int, id int);
ALTER TABLE p2 DROP junk;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3) PARTITION BY RANGE (at);
CREATE TABLE p3a PARTITION OF p3 FOR VALUES FROM (1) TO (10);
CREATE INDEX p_phone ON p (phone);
INSERT INTO p VALUES (1, 1, '13800000001'), (2, 1, '13800000002'), (3, 1, '13800000003');
CALL courier_pii.protect_column_online('p1', 'phone', 'phone');
CALL courier_pii.protect_column_online('p', 'phone', 'phone');
SELECT attrelid::regclass, format_type(atttypid, -1), attnotnull FROM pg_attribute WHERE attrelid IN (SELECT relid FROM pg_partition_tree('p')) AND attname = 'phone' ORDER BY attrelid::regclass::text COLLATE "C";
SELECT i.indrelid::regclass, i.indexrelid::regclass, i.indisvalid, h.inhparent::regclass, k.conname FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid WHERE i.indrelid IN (SELECT relid FROM pg_partition_tree('p')) ORDER BY i.indrelid::regclass::text COLLATE "C", i.indexrelid::regclass::text COLLATE "C";
INSERT INTO p (id, at) VALUES (1, 2);
CREATE TABLE p4 PARTITION OF p FOR VALUES IN (4);
INSERT INTO p VALUES (4, 1, '13800000004');
\set VERBOSITY terse
INSERT INTO p VALUES (3, 1, '13800000003');
\set VERBOSITY default
CREATE TABLE parent (phone text);
CREATE TABLE heir (more text) INHERITS (parent);
INSERT INTO parent VALUES ('13800000001');
INSERT INTO heir VALUES ('13800000002', 'x');
CALL courier_pii.protect_column_online('parent', 'phone', 'phone');
SELECT attrelid::regclass, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid IN ('parent'::regclass, 'heir'::regclass) AND attname = 'phone' ORDER BY attrelid::regclass::text COLLATE "C";
SELECT count(*) FILTER (WHERE phone IS NOT NULL) FROM parent;
-- an empty table, and one that is published
CREATE TABLE empty (phone text);
DO $$ BEGIN CALL courier_pii.protect_column_online('regress_online.empty', 'phone', 'phone'); END $$;
SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'empty'::regclass AND attname = 'phone';
RESET ROLE;
SET client_min_messages = error;
CREATE TABLE published (phone text);
CREATE PUBLICATION regress_courier_pii_pub FOR TABLE published;
RESET client_min_messages;
CALL courier_pii.protect_column_online('published', 'phone', 'phone');

\c - :superuser
SET client_min_messages = error;
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_reader', c)) FROM unnest('{phone,waybill_no,note}'::text[]) c;
DROP PUBLICATION regress_courier_pii_pub;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_online, regress_online_view CASCADE;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_reader;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_reader;
