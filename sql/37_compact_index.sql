-- Indexes of protected columns: as small as of plain text, and used by all searches.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE SCHEMA regress_compact AUTHORIZATION regress_courier_pii_owner;
CREATE SCHEMA regress_compact_view AUTHORIZATION regress_courier_pii_owner;
SELECT courier_pii.grant_disclosure('regress_courier_pii_owner', 'phone', 'clear', true);
SELECT courier_pii.set_limit('regress_courier_pii_owner', NULL, NULL, NULL);
RESET client_min_messages;
\c - regress_courier_pii_owner
SET search_path = regress_compact;
CREATE TABLE t (id int PRIMARY KEY, phone text, state text);
INSERT INTO t SELECT i, 13800000000 + i, 'new' FROM generate_series(1, 200000) i;
CREATE TABLE o AS SELECT * FROM t WHERE id <= 20000;
CREATE INDEX t_phone ON t (phone);
CREATE INDEX o_phone ON o (phone);
SELECT pg_relation_size('t_phone') AS plain \gset
-- the same numbers again and again, as of people who get many parcels
CREATE TABLE again AS SELECT i AS id, (13800000000 + i % 2000)::text AS phone, (13900000000 + i % 3000)::text AS other FROM generate_series(1, 20000) i;
CREATE INDEX again_id ON again (id);
CREATE INDEX again_phone ON again (phone);
CREATE INDEX again_other ON again (other);
CREATE INDEX again_late ON again (phone) WHERE id > 19000;
SELECT pg_relation_size('again_phone') AS plain_again \gset
CREATE TABLE halves (id int, phone courier_pii.phone) PARTITION BY HASH (id);
CREATE TABLE half_1 PARTITION OF halves FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE half_2 PARTITION OF halves FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX ON halves (courier_pii.search_tag(phone));
INSERT INTO halves SELECT id, phone FROM again WHERE id <= 2000;
SELECT courier_pii.protect_columns('again', '{"phone": "phone", "other": "phone"}');
SELECT pg_relation_size('again_phone') <= 1.3 * :plain_again AS small;
SELECT courier_pii.protect_column('t', 'phone', 'phone');
CALL courier_pii.protect_column_online('o', 'phone', 'phone');
SELECT pg_relation_size('t_phone') <= 1.3 * :plain AS small;
SELECT c.relname, am.amname FROM pg_class c JOIN pg_am am ON am.oid = c.relam WHERE c.relname IN ('t_phone', 'o_phone') ORDER BY 1;
SELECT courier_pii.create_masked_view('t', 'regress_compact_view');
VACUUM ANALYZE t;
VACUUM ANALYZE o;

-- every way to search
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE phone = '13800000007'::text;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE phone = ANY (ARRAY['13800000007', '13800000009']::text[]);
EXPLAIN (COSTS OFF) SELECT o.id FROM t JOIN o ON o.phone = t.phone WHERE t.id = 7;
EXPLAIN (COSTS OFF) SELECT id FROM regress_compact_view.t WHERE phone = '13800000007';
EXPLAIN (COSTS OFF) SELECT id FROM regress_compact_view.t WHERE phone IN ('13800000007', '13800000009');
SET plan_cache_mode = force_generic_plan;
PREPARE by_text(text) AS SELECT id FROM t WHERE phone = $1;
PREPARE by_array(text[]) AS SELECT id FROM t WHERE phone = ANY ($1) ORDER BY id;
PREPARE by_view(text) AS SELECT id FROM regress_compact_view.t WHERE phone = $1;
EXPLAIN (COSTS OFF) EXECUTE by_text('13800000007');
EXPLAIN (COSTS OFF) EXECUTE by_array('{13800000007,13800000009}');
EXPLAIN (COSTS OFF) EXECUTE by_view('13800000007');
EXECUTE by_text('138 0000 0007');
EXECUTE by_array('{13800000007,13800000009,none}');
EXECUTE by_view('13800000007');
RESET plan_cache_mode;
SELECT id FROM t WHERE phone IN ('13800000007', '13800000009') ORDER BY id;
SELECT o.id FROM t JOIN o ON o.phone = t.phone WHERE t.id = 7;
SELECT id FROM regress_compact_view.t WHERE phone = '13800000007';
-- one of several conditions
VACUUM ANALYZE again;
EXPLAIN (COSTS OFF) SELECT id FROM again WHERE phone = '13800000007'::text OR other = '13900000007'::text OR id = 3;
EXPLAIN (COSTS OFF) SELECT id FROM again WHERE (phone = '13800000007'::text AND id < 9000) OR other = ANY (ARRAY['13900000007', '13900000008']::text[]);
EXPLAIN (COSTS OFF) SELECT id FROM again WHERE phone = '13800000007'::text AND id > 19000;
SELECT id FROM again WHERE phone = '13800001007'::text AND id > 19000;
SELECT count(*), min(id), max(id) FROM again WHERE phone = '13800000007'::text OR other = '13900000007'::text OR id = 3;
SELECT count(*) FROM again WHERE NOT (phone = '13800000007'::text OR other = '13900000007'::text);
-- NOT of an inequality is a search
EXPLAIN (COSTS OFF) SELECT id FROM again WHERE NOT phone <> '13800000007'::text;
SELECT count(*), min(id), max(id) FROM again WHERE NOT phone <> '13800000007';
SELECT count(*) FROM again WHERE NOT (phone NOT IN ('13800000007') OR id < 1000 OR phone <> ALL ('{13800000007,13800000008}'::text[]));
SELECT count(*), count(*) FILTER (WHERE '13800000007' <> phone) FROM again WHERE phone <> '13800000007'::text;
SELECT courier_pii.create_masked_view('again', 'regress_compact_view');
EXPLAIN (COSTS OFF) SELECT id FROM regress_compact_view.again WHERE phone = '13800000007' OR other = '13900000007';
SELECT count(*) FROM regress_compact_view.again WHERE phone = '13800000007' OR other = '13900000007';
-- joins by tag: one by one, and all
SET enable_bitmapscan = off; SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT a.id FROM (VALUES ('13800000007'), ('13800000008')) v (p) JOIN again a ON a.phone = v.p;
RESET enable_bitmapscan; RESET enable_hashjoin;
SELECT count(*) FROM (VALUES ('13800000007'), ('138 0000 0008'), (NULL)) v (p) JOIN again a ON a.phone = v.p;
SELECT count(*) FROM again a JOIN again b ON b.other = a.phone;
SELECT count(*) FROM o LEFT JOIN again a ON a.phone = o.phone WHERE o.id < 2010;
EXPLAIN (COSTS OFF) SELECT o.id, (SELECT count(*) FROM again a WHERE a.phone = o.phone) FROM o WHERE o.id = 7;
SELECT o.id, (SELECT count(*) FROM again a WHERE a.phone = o.phone) FROM o WHERE o.id = 7;
-- a search is one probe, whatever the plan
\c - :superuser
SELECT courier_pii.set_budget('regress_courier_pii_owner', 'probes', 1, NULL, NULL);
\c - regress_courier_pii_owner
SET search_path = regress_compact;
SELECT count(*) FROM again WHERE phone = '13800000007'::text;
SELECT count(*) FROM again WHERE phone = '13800000007';
SELECT count(*) FROM regress_compact_view.again WHERE phone = '13800000007';
SELECT count(*) FROM (VALUES ('13800000007')) v (p) LEFT JOIN again a ON a.phone = v.p;
SELECT count(*) FROM halves WHERE phone = '13800000007'::text;
SELECT count(*) FROM again a JOIN halves h ON h.id = a.id WHERE a.phone = '13800000007'::text OR h.phone = '13800000007'::text;
SELECT count(*) FROM again WHERE phone = '13800000007'::text OR other = '13900000007'::text;
SELECT count(*) FROM halves WHERE phone IN ('13800000007', '13800000008');
DO $$BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM 1 FROM again WHERE phone = '13800000007'::text OR other = '13900000007'::text;
			RAISE 'not refused';
		EXCEPTION WHEN SQLSTATE 'PI001' THEN NULL;
		END;
	END LOOP;
END$$;
SET enable_bitmapscan = off;
SELECT count(*) FROM again WHERE phone = '13800000007'::text;
SET enable_indexscan = off;
SELECT count(*) FROM again WHERE phone = '13800000007'::text;
\c - :superuser
SELECT courier_pii.set_budget('regress_courier_pii_owner', 'probes', NULL, NULL, NULL);
\c - regress_courier_pii_owner
SET search_path = regress_compact;
-- the function by itself
SELECT courier_pii.search_tag(phone) = courier_pii.search_tag((SELECT phone FROM again WHERE id = 2007)) AS same, length(courier_pii.search_tag(phone)) FROM again WHERE id = 7;
SELECT courier_pii.search_tag('a'::courier_pii.address) IS NULL AS none, courier_pii.search_tags(NULL) IS NULL AS null;
SET enable_indexscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM again WHERE phone = '13800000007'::text OR other = '13900000007'::text OR id = 3;
RESET enable_indexscan; RESET enable_bitmapscan;
-- row security: the index is used below its condition
ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY odd ON t USING (id % 2 = 1);
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE phone = '13800000007'::text;
SELECT id FROM t WHERE phone IN ('13800000007', '13800000008');
DROP POLICY odd ON t;
ALTER TABLE t DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
-- later writes
UPDATE t SET phone = '13900000001' WHERE phone = '13800000007';
DELETE FROM t WHERE phone = '13800000009';
INSERT INTO t VALUES (0, '13900000001', 'new');
SELECT id FROM t WHERE phone IN ('13800000007', '13800000009', '13900000001') ORDER BY id;

-- which indexes: plain ones on the column alone; the others stay what they are
CREATE TABLE k (id int, phone text, mail text, state text);
INSERT INTO k VALUES (1, '13800000001', 'a@example.com', 'new'), (2, '13800000002', NULL, 'old');
CREATE INDEX k_desc ON k (phone DESC NULLS LAST) WITH (fillfactor = 50, deduplicate_items = off);
COMMENT ON INDEX k_desc IS 'by phone';
CREATE INDEX k_two ON k (phone, id);
CREATE INDEX k_include ON k (phone) INCLUDE (id);
CREATE UNIQUE INDEX k_unique ON k (phone);
CREATE INDEX k_cluster ON k (phone);
ALTER TABLE k CLUSTER ON k_cluster;
CREATE INDEX k_hash ON k USING hash (phone);
CREATE INDEX k_state ON k (state);
CREATE INDEX k_open ON k (phone) WHERE state <> 'done';
CREATE INDEX k_lower ON k (lower(state), phone);
CREATE INDEX k_mail ON k (mail);
CREATE TABLE k_online (LIKE k INCLUDING ALL);
INSERT INTO k_online SELECT * FROM k;
CREATE VIEW made AS SELECT c.relname, am.amname, c.reloptions, pg_get_indexdef(c.oid) ~ 'DESC' AS is_desc, obj_description(c.oid, 'pg_class') AS comment, i.indisvalid AS valid, i.indisclustered AS clustered
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
WHERE c.relnamespace = 'regress_compact'::regnamespace AND c.relname ~ '^[kp]' ORDER BY c.relname COLLATE "C";
SELECT courier_pii.protect_columns('k', '{"phone": "phone", "mail": "email"}');
CALL courier_pii.protect_column_online('k_online', 'phone', 'phone');
SELECT * FROM made;

-- partitions: names of their own, a level between, one that is clustered
CREATE TABLE p (id int, at int, phone text, name text) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY RANGE (at);
CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (1) TO (10);
CREATE INDEX p1_mine ON p1 (phone);
COMMENT ON INDEX p1_mine IS 'made first';
CREATE INDEX p_phone ON p (phone);
CREATE INDEX p_name ON p (name);
CREATE INDEX p1_alone ON p1 (phone DESC);
ALTER TABLE p1 CLUSTER ON p1_name_idx;
INSERT INTO p VALUES (1, 1, '13800000001', '王小明'), (2, 1, '13800000002', '李小红');
SELECT courier_pii.protect_columns('p', '{"phone": "phone", "name": "person_name"}');
SELECT relname, amname, valid, clustered, comment FROM made WHERE relname ~ '^p';
SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits WHERE inhparent::regclass::text ~ '^p.*_' ORDER BY inhrelid::regclass::text COLLATE "C";
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
INSERT INTO p VALUES (3, 1, '13800000003', '王小明');
SELECT id FROM p WHERE phone IN ('13800000001', '13800000003') ORDER BY id;
\d p3

-- an error leaves the indexes as they were
CREATE TABLE kx (phone text);
CREATE INDEX kx_phone ON kx (phone);
BEGIN;
SELECT courier_pii.protect_column('kx', 'phone', 'phone');
ROLLBACK;
\d kx

-- unprotected columns have btree indexes again
\c - :superuser
SET search_path = regress_compact;
SELECT courier_pii.unprotect_column('k', 'phone');
SELECT courier_pii.unprotect_column('p', 'phone');
SELECT * FROM made WHERE relname ~ '^k_[a-np-z]' OR relname ~ '^p.*(phone|mine|alone)';
SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits WHERE inhparent::regclass::text ~ '^p.*_phone' ORDER BY inhrelid::regclass::text COLLATE "C";
-- also one that the table is clustered on; not what is made of tags otherwise
CREATE TABLE kc (id int, phone courier_pii.phone);
INSERT INTO kc VALUES (1, '13800000001');
CREATE INDEX kc_tag ON kc (courier_pii.search_tag(phone));
CREATE INDEX kc_length ON kc (length(courier_pii.search_tag(phone)));
CREATE INDEX kc_hash ON kc USING hash (courier_pii.search_tag(phone));
ALTER TABLE kc CLUSTER ON kc_tag;
SELECT courier_pii.unprotect_column('kc', 'phone');
DROP INDEX kc_length, kc_hash;
SELECT courier_pii.unprotect_column('kc', 'phone');
\d kc

-- emptied quicker
SELECT courier_pii.unprotect_column('t', 'phone'), courier_pii.unprotect_column('o', 'phone'), courier_pii.unprotect_column('again', 'phone'), courier_pii.unprotect_column('again', 'other');
SET client_min_messages = error;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_owner', 'phone');
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_compact, regress_compact_view CASCADE;
DROP OWNED BY regress_courier_pii_owner;
DROP ROLE regress_courier_pii_owner;
