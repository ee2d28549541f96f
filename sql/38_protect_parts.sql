-- Protecting a column online: foreign keys of other columns, and what partitions and inheriting
-- tables have of their own.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_parts LOGIN;
SELECT courier_pii.grant_disclosure('regress_courier_pii_parts', 'phone', 'clear', true);
CREATE SCHEMA regress_parts AUTHORIZATION regress_courier_pii_parts;
\c - regress_courier_pii_parts
SET search_path = regress_parts;

-- ---- foreign keys of other columns stay, to and from the table, with their actions ----
CREATE TABLE station (code text PRIMARY KEY);
CREATE TABLE sender (id int PRIMARY KEY, phone text UNIQUE, station text NOT NULL DEFAULT 'S1' REFERENCES station ON UPDATE CASCADE,
	boss int CONSTRAINT sender_boss REFERENCES sender DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE shipment (id int PRIMARY KEY, sender int REFERENCES sender ON DELETE SET NULL, phone text CONSTRAINT shipment_phone REFERENCES sender (phone) ON UPDATE CASCADE);
COMMENT ON CONSTRAINT sender_boss ON sender IS 'of the same company';
INSERT INTO station VALUES ('S1');
INSERT INTO sender SELECT i, 13800000000 + i, 'S1', 1 FROM generate_series(1, 300) i;
INSERT INTO shipment SELECT i, 1 + i % 300, 13800000001 + i % 300 FROM generate_series(1, 900) i;
-- the one on the column itself takes the other column along (39_protect_keys)
CREATE TEMP TABLE keys AS SELECT conrelid::regclass::text AS tbl, conname, pg_get_constraintdef(oid) AS def, obj_description(oid, 'pg_constraint') AS comment
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'regress_parts'::regnamespace;
CALL courier_pii.protect_column_online('sender', 'phone', 'phone');
SELECT count(*) AS lost_or_changed FROM (SELECT * FROM keys EXCEPT SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
	FROM pg_constraint WHERE contype = 'f' AND connamespace = 'regress_parts'::regnamespace AND convalidated) x;
\set VERBOSITY terse
INSERT INTO shipment VALUES (1000, 1, '13900000000');
INSERT INTO shipment VALUES (1000, 999, '13800000001');
INSERT INTO shipment VALUES (1000, 1, '138-0000-0001');
UPDATE sender SET phone = '13900000001' WHERE id = 1;
SELECT count(*) FROM shipment WHERE phone = '13900000001';
INSERT INTO sender (id, phone, boss) VALUES (400, '13900000002', 999);
INSERT INTO sender (id, phone, station) VALUES (400, '13900000002', 'S9');
DELETE FROM sender WHERE id = 2;
UPDATE shipment SET phone = NULL WHERE phone = '13800000002';
DELETE FROM sender WHERE id = 2;
SELECT count(*) FROM shipment WHERE sender IS NULL;
UPDATE station SET code = 'S2';
SELECT DISTINCT station FROM sender;
\set VERBOSITY default

-- ---- partitions and children with things of their own ----
CREATE TABLE p (id int, phone text DEFAULT 'none') PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (phone text DEFAULT '10010', id int);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
ALTER TABLE p3 ALTER phone DROP DEFAULT;
CREATE TABLE named (phone text PRIMARY KEY);
INSERT INTO named VALUES ('13800000001'), ('none');
INSERT INTO p VALUES (1, '13800000001'), (2, '13800000002'), (3, '13800000003');
ALTER TABLE p1 ADD CONSTRAINT p1_long CHECK (length(phone) > 3);
ALTER TABLE p1 ADD CONSTRAINT p1_named FOREIGN KEY (phone) REFERENCES named;
CREATE INDEX p2_lower ON p2 (lower(phone));
CREATE VIEW p2_view AS SELECT phone FROM p2;
ALTER TABLE p3 ALTER phone SET DEFAULT lower('X');
CALL courier_pii.protect_column_online('p', 'phone', 'phone');
SELECT courier_pii.protect_column('p', 'phone', 'phone');
SELECT count(*) AS begun FROM pg_attribute WHERE attrelid = 'p'::regclass AND attname ~ 'courier_pii';
ALTER TABLE p1 DROP CONSTRAINT p1_long;
DROP INDEX p2_lower;
DROP VIEW p2_view;
ALTER TABLE p3 ALTER phone DROP DEFAULT;
-- an index that one partition has alone is kept, and so are the defaults
CREATE INDEX p2_own ON p2 (phone);
CREATE TABLE q (LIKE p INCLUDING ALL) PARTITION BY LIST (id);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2);
ALTER TABLE q1 ALTER phone SET DEFAULT '10010';
ALTER TABLE q2 ALTER phone DROP DEFAULT;
CALL courier_pii.protect_column_online('p', 'phone', 'phone');
SELECT courier_pii.protect_column('q', 'phone', 'phone');
SELECT d.adrelid::regclass, count(*) FILTER (WHERE pg_get_expr(d.adbin, d.adrelid) ~ '''pii:') AS sealed FROM pg_attrdef d
WHERE d.adrelid IN (SELECT relid FROM pg_partition_tree('p') UNION SELECT relid FROM pg_partition_tree('q')) GROUP BY d.adrelid ORDER BY d.adrelid::regclass::text COLLATE "C";
INSERT INTO p VALUES (1), (2), (3);
INSERT INTO p1 VALUES (1);
INSERT INTO p2 (id) VALUES (2);
INSERT INTO p3 VALUES (3);
INSERT INTO q1 VALUES (1);
SELECT tableoid::regclass AS part, count(*) FILTER (WHERE phone = '10010') AS own, count(*) FILTER (WHERE phone = 'none') AS common, count(*) FILTER (WHERE phone IS NULL) AS none FROM p GROUP BY tableoid ORDER BY tableoid::regclass::text COLLATE "C";
SELECT count(*) FROM q WHERE phone = '10010';
-- a foreign key that one partition has alone is kept, too
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'f' AND confrelid = 'named'::regclass;
\set VERBOSITY terse
INSERT INTO p1 VALUES (1, '13800000009');
\set VERBOSITY default
SELECT c.relname, m.amname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam WHERE i.indrelid = 'p2'::regclass;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
SELECT courier_pii.revoke_disclosure('regress_courier_pii_parts', 'phone');
DROP SCHEMA regress_parts CASCADE;
DROP ROLE regress_courier_pii_parts;
