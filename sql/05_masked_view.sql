-- Masked views: shape, grants, masks of native columns, and plain SQL over them.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_clerk LOGIN;
CREATE ROLE regress_courier_pii_viewer LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_view;
SET search_path = regress_view;
CREATE TABLE waybill (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	no varchar(20) NOT NULL UNIQUE,
	name text,
	phone varchar(20),
	addr text,
	idno text,
	region int DEFAULT 440305,
	path int[],
	made timestamptz DEFAULT '2026-01-02 03:04:05+08',
	made_local timestamp,
	day date,
	state int NOT NULL DEFAULT 1,
	remark text DEFAULT 'none'
);
COMMENT ON COLUMN waybill.phone IS 'of the recipient';
CREATE INDEX waybill_phone ON waybill (phone);
INSERT INTO waybill (no, name, phone, addr, idno, path, made_local, day)
SELECT 'SF' || lpad(i::text, 10, '0'), '王小' || substr('一二三四五六七八九十', i % 10 + 1, 1), '138' || lpad(i::text, 8, '0'), '广东省深圳市南山区科技路' || i || '号',
	'11010119900101' || lpad(i::text, 4, '0'), '{440000,440300,440305}', '2026-01-02 03:04:05', '2026-01-02'
FROM generate_series(1, 200) i;
GRANT SELECT, UPDATE (state) ON waybill TO regress_courier_pii_clerk;
GRANT SELECT (id, phone), INSERT, TRUNCATE ON waybill TO regress_courier_pii_viewer;
SELECT courier_pii.protect_column('waybill', c, k)
FROM (VALUES ('no', 'waybill_no'), ('name', 'person_name'), ('phone', 'phone'), ('addr', 'address'), ('idno', 'id_number')) v(c, k);
SELECT courier_pii.create_masked_view('waybill', 'regress_view');
SELECT courier_pii.create_masked_view('waybill', masks => '{"state": "day"}');
SELECT courier_pii.create_masked_view('waybill', masks => '{"made": "minute"}');
SELECT courier_pii.create_masked_view('waybill', masks => '{"made": 1}');
SELECT courier_pii.create_masked_view('waybill', masks => '[]');
SELECT courier_pii.create_masked_view('waybill', masks => '{"nothing": "day"}');
SELECT courier_pii.create_masked_view('waybill', masks => '{"phone": "day"}');
SELECT courier_pii.create_masked_view('waybill', NULL);
\c - :superuser
SET search_path = regress_view;
CREATE SCHEMA regress_masked AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_masked, regress_view TO PUBLIC;
SELECT courier_pii.create_masked_view('waybill', 'regress_masked',
	'{"region": "region", "path": "region", "made": "day", "made_local": "hour", "day": "month"}', true);
SELECT courier_pii.create_masked_view('waybill', 'regress_masked');
SELECT courier_pii.create_masked_view('regress_masked.waybill', 'regress_masked2');
\d regress_masked.waybill
SELECT reloptions, relowner::regrole FROM pg_class WHERE oid = 'regress_masked.waybill'::regclass;
SELECT col_description('regress_masked.waybill'::regclass, 4);
-- (since PostgreSQL 17 an owner's list has one letter more)
SELECT c.oid::regclass AS relation, replace(a::text, 'Dxtm/', 'Dxt/') AS access FROM pg_class c, unnest(c.relacl) a WHERE c.oid IN ('regress_masked.waybill'::regclass, 'waybill'::regclass) ORDER BY c.oid::regclass::text, 2;
SELECT attrelid::regclass AS relation, attname, attacl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL AND c.oid IN ('regress_masked.waybill'::regclass, 'waybill'::regclass) ORDER BY attrelid::regclass::text, attnum;
SELECT tbl, view, masks FROM courier_pii.masked_views;
SELECT tbl, col, class FROM courier_pii.protected_columns WHERE tbl = 'waybill'::regclass ORDER BY col COLLATE "C";
SELECT courier_pii.grant_disclosure('regress_courier_pii_clerk', 'phone', 'clear');
SELECT courier_pii.grant_disclosure('regress_courier_pii_clerk', 'region', 'clear');
SELECT courier_pii.set_limit('regress_courier_pii_clerk', 5, NULL, NULL);

-- a person with clear phones, five values a statement
\c - regress_courier_pii_clerk
SET search_path = regress_masked, regress_view;
SELECT * FROM waybill ORDER BY id LIMIT 2;
SELECT phone FROM waybill ORDER BY id LIMIT 5;
SELECT phone FROM waybill ORDER BY id LIMIT 6;
SELECT phone, name FROM waybill WHERE state = 1 AND id BETWEEN 10 AND 14 ORDER BY id;
SELECT id FROM waybill WHERE id < 100 ORDER BY id LIMIT 1;
SELECT count(*) FROM waybill;
SELECT count(*), count(phone) FROM waybill WHERE id <= 3;
SELECT w FROM waybill w WHERE id = 1;
SELECT row_to_json(w)->>'phone' AS phone FROM waybill w WHERE id = 1;
SELECT phone FROM waybill WHERE id <= 3 ORDER BY phone DESC;
SELECT id FROM waybill WHERE id <= 5 AND phone LIKE '%0003';
SELECT substr(phone, 1, 3) || '!' AS head, CASE WHEN phone ~ '^138' THEN 'mobile' END AS kind, COALESCE(phone, '-') FROM waybill WHERE id = 4;
SELECT upper(name), length(addr), idno FROM waybill WHERE id = 4;
SELECT id FROM waybill WHERE phone = '13800000123';
SELECT id FROM waybill WHERE phone = '138 0000 0123'::varchar;
SELECT id, phone FROM waybill WHERE phone IN ('13800000123', '13800000124') ORDER BY id;
SELECT id FROM waybill WHERE phone = ANY (ARRAY['13800000123', '13800000124']::varchar[]) ORDER BY id;
PREPARE anyof(varchar[]) AS SELECT id, phone FROM waybill WHERE phone = ANY ($1) ORDER BY id;
EXECUTE anyof('{13800000123,13800000124}');
PREPARE one AS SELECT id FROM waybill WHERE phone = $1;
EXECUTE one('13800000123');
SET plan_cache_mode = force_generic_plan;
EXECUTE one('13800000123');
EXECUTE anyof('{13800000123,13800000124}');
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) EXECUTE one('13800000123');
EXPLAIN (COSTS OFF) SELECT id FROM waybill WHERE phone = '13800000123' AND name LIKE '王%';
RESET enable_seqscan; RESET enable_bitmapscan;
RESET plan_cache_mode;
SELECT id FROM waybill WHERE name = '王小二';
SELECT id FROM waybill WHERE idno = '110101199001010001';
SELECT id FROM waybill WHERE addr = 'x';

-- searches in all places
SELECT id FROM waybill WHERE phone = '13800000123' OR id = 3 ORDER BY id;
SELECT id FROM (SELECT * FROM waybill) s WHERE phone = '13800000123';
SELECT id FROM (SELECT id, phone AS p FROM waybill WHERE state = 1) s WHERE p = '13800000123';
WITH c AS (SELECT * FROM waybill) SELECT id, phone FROM c WHERE phone = '13800000123';
WITH c AS (SELECT id FROM waybill WHERE phone = '13800000123') SELECT * FROM c;
WITH c AS (SELECT * FROM waybill), d AS (SELECT id, phone AS p FROM c) SELECT id FROM d WHERE p = '13800000123';
SELECT (WITH c AS (SELECT * FROM waybill w WHERE w.id = g) SELECT id FROM c WHERE phone = '13800000123') AS id FROM generate_series(123, 124) g;
WITH c AS (SELECT * FROM waybill) SELECT id FROM c a WHERE phone = '13800000123' AND EXISTS (SELECT 1 FROM c WHERE c.id = a.id AND c.id < 3);
WITH c AS MATERIALIZED (SELECT id, phone FROM waybill WHERE id IN (1, 2)) SELECT id FROM c WHERE phone = '13800000002';
SELECT id FROM waybill a WHERE EXISTS (SELECT 1 FROM waybill b WHERE b.id = a.id AND b.phone = '13800000123');
SELECT id FROM waybill WHERE id IN (SELECT id FROM waybill WHERE phone = '13800000123');
SELECT (SELECT id FROM waybill WHERE phone = '13800000123') AS id;
SELECT count(*) FROM waybill WHERE NOT (phone = '13800000123');
SELECT id, phone = '13800000002' AS is_two FROM waybill WHERE id IN (1, 2) ORDER BY id;
SELECT phone FROM waybill WHERE id = 1 UNION ALL SELECT phone FROM waybill WHERE phone = '13800000002' ORDER BY 1;
SELECT 'x' AS p UNION SELECT phone FROM waybill WHERE id = 1 ORDER BY p;
SELECT id FROM (SELECT id, phone FROM waybill WHERE id = 1 UNION ALL SELECT id, phone FROM waybill WHERE id = 2) u WHERE phone = '13800000002';
SELECT a.id, b.phone FROM waybill a JOIN waybill b ON a.id = b.id WHERE a.phone = '13800000123';
SELECT a.id FROM waybill a LEFT JOIN waybill b ON a.id = b.id + 1 AND b.phone = '13800000123' WHERE a.id IN (123, 124) AND b.id IS NOT NULL;
SELECT a.id, b.phone FROM waybill a LEFT JOIN waybill b ON b.id = a.id AND b.id = 2 WHERE a.id IN (1, 2) ORDER BY a.id;
SELECT a.id, b FROM waybill a LEFT JOIN (SELECT id, phone FROM waybill WHERE id = 2) b ON b.id = a.id WHERE a.id IN (1, 2) ORDER BY a.id;
SELECT l.phone FROM generate_series(1, 2) g, LATERAL (SELECT phone FROM waybill w WHERE w.id = g) l ORDER BY 1;
SELECT phone, count(*) FROM waybill WHERE id <= 2 GROUP BY phone ORDER BY phone;
SELECT DISTINCT left(phone, 3) AS head FROM waybill WHERE id <= 5;
SELECT max(phone), string_agg(phone, ',' ORDER BY id) FROM waybill WHERE id <= 2;
SELECT id, lag(phone) OVER (ORDER BY id) FROM waybill WHERE id <= 2 ORDER BY id;
SELECT id, phone FROM waybill WHERE id = 2 FOR UPDATE;
BEGIN;
DECLARE c CURSOR FOR SELECT id, phone FROM waybill ORDER BY id;
FETCH 2 FROM c;
MOVE 2 IN c;
FETCH 1 FROM c;
ROLLBACK;
CREATE TEMP VIEW mine AS SELECT id, phone AS tel FROM waybill;
SELECT id, tel FROM mine WHERE tel = '13800000123';
SELECT count(*) FROM mine WHERE tel = '13800000123';

-- masks of native columns
\c - regress_courier_pii_viewer
SET search_path = regress_masked, regress_view;
SELECT id, phone FROM waybill ORDER BY id LIMIT 2;
SELECT name FROM waybill;
SELECT id FROM waybill WHERE phone = '13800000123';
SELECT id FROM waybill WHERE phone LIKE '138%' AND phone LIKE '%0123';
SELECT id FROM regress_view.waybill;
\c - :superuser
GRANT SELECT ON regress_masked.waybill TO regress_courier_pii_viewer;
\c - regress_courier_pii_viewer
SET search_path = regress_masked, regress_view;
SELECT region, path, made AT TIME ZONE 'Asia/Shanghai' AS made, made_local, day, idno FROM waybill WHERE id = 1;
SELECT * FROM waybill WHERE id = 7;
SELECT phone, count(*) FROM waybill WHERE id IN (1, 2) GROUP BY phone ORDER BY phone;

-- awkward names, partitions
\c - regress_courier_pii_owner
SET search_path = regress_view;
CREATE TABLE "运单 ""表" ("编号" int PRIMARY KEY, "收件人 电话" text, "Select" text) PARTITION BY RANGE ("编号");
CREATE TABLE part_a PARTITION OF "运单 ""表" FOR VALUES FROM (0) TO (10);
CREATE TABLE part_b PARTITION OF "运单 ""表" FOR VALUES FROM (10) TO (20);
CREATE INDEX ON "运单 ""表" ("收件人 电话");
INSERT INTO "运单 ""表" VALUES (1, '13800000001', 'a'), (11, '13800000011', 'b');
SELECT courier_pii.protect_column('"运单 ""表"', '收件人 电话', 'phone');
SELECT courier_pii.protect_column('"运单 ""表"', 'Select', 'note');
GRANT SELECT, INSERT, UPDATE, DELETE ON "运单 ""表" TO regress_courier_pii_clerk;
GRANT SELECT ON part_a TO regress_courier_pii_clerk, PUBLIC;
GRANT SELECT ("Select") ON part_b TO regress_courier_pii_viewer;
SELECT courier_pii.create_masked_view('"运单 ""表"', 'regress_masked', move_grants => true);
-- no row rule would bind a reader of a partition: rights there go as well
SELECT c.relname, r.rolname, has_any_column_privilege(r.oid, c.oid, 'SELECT') AS reads
FROM pg_class c, pg_roles r
WHERE c.oid IN (SELECT relid FROM pg_partition_tree('"运单 ""表"'::regclass)) AND r.rolname IN ('regress_courier_pii_clerk', 'regress_courier_pii_viewer')
ORDER BY c.relname, r.rolname;
\c - regress_courier_pii_clerk
SELECT * FROM regress_masked."运单 ""表" ORDER BY 1;
SELECT "编号" FROM regress_masked."运单 ""表" WHERE "收件人 电话" = '13800000011';
UPDATE regress_masked."运单 ""表" SET "收件人 电话" = '13800000012' WHERE "编号" = 11 RETURNING *;
SELECT * FROM regress_masked."运单 ""表" ORDER BY 1;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_view, regress_masked CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clerk', 'phone');
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clerk', 'region');
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_clerk, regress_courier_pii_viewer;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_clerk, regress_courier_pii_viewer;
SELECT count(*) FROM courier_pii.masked_views;
