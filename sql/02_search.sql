-- Search by real value: equality, joins, grouping, keys, indexes.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_blind LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_owner', class, 'clear', true))
FROM unnest('{person_name,phone,address,id_number,unit_name,waybill_no,item,note,email,account_no}'::text[]) class;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_search;
GRANT USAGE ON SCHEMA regress_search TO regress_courier_pii_blind;
SET search_path = regress_search;
CREATE TABLE sender (id int PRIMARY KEY, phone courier_pii.phone UNIQUE, name courier_pii.person_name);
CREATE TABLE parcel (id int PRIMARY KEY, phone courier_pii.phone, idno courier_pii.id_number, mail courier_pii.email, addr courier_pii.address);
INSERT INTO sender SELECT i, '138' || lpad(i::text, 8, '0'), '客户' || i FROM generate_series(1, 300) i;
INSERT INTO parcel SELECT i, '138' || lpad((i % 100 + 1)::text, 8, '0'), '11010119900101' || lpad(i::text, 3, '0') || 'x', 'User' || i || '@Example.com', '路' || i FROM generate_series(1, 600) i;
CREATE INDEX parcel_phone ON parcel (phone);
CREATE INDEX parcel_hash ON parcel USING hash (idno);
CREATE INDEX parcel_tail ON parcel (courier_pii.tail4(phone));
ANALYZE sender, parcel;
GRANT SELECT ON ALL TABLES IN SCHEMA regress_search TO regress_courier_pii_blind;

-- literals and parameters
SELECT id FROM sender WHERE phone = '13800000007';
SELECT id FROM sender WHERE '13800000007' = phone;
SELECT id FROM sender WHERE phone = '13800000007'::text;
SELECT id FROM sender WHERE '13800000007'::varchar = phone;
SELECT id FROM sender WHERE phone = '13800000007'::char(20);
SELECT count(*) FROM sender WHERE phone <> '13800000007';
SELECT count(*) FROM sender WHERE NOT phone = '13800000007'::text;
SELECT count(*) FROM sender WHERE phone <> '13800000007'::text;
SELECT id FROM sender WHERE phone IN ('13800000007', '13800000009', 'none') ORDER BY id;
SELECT count(*) FROM sender WHERE phone NOT IN ('13800000007', '13800000009');
SELECT id FROM sender WHERE phone = ANY ('{13800000007,13800000009,NULL}') ORDER BY id;
SELECT id FROM sender WHERE phone = ANY (ARRAY['13800000007', '13800000009']) ORDER BY id;
SELECT id FROM sender WHERE phone = ANY (ARRAY['13800000007', '13800000009']::text[]) ORDER BY id;
SELECT count(*) FROM sender WHERE NOT phone = ANY ('{13800000007,NULL}');
SELECT count(*) FROM sender WHERE phone <> ALL ('{13800000007,NULL}'::text[]);
SELECT count(*) FROM sender WHERE phone NOT IN ('13800000001', '13800000002', '13800000003', '13800000004', '13800000005',
	'13800000006', '13800000007', '13800000008', '13800000009', '13800000010');
SELECT count(*) FROM parcel WHERE phone NOT IN ('13800000001'::text, '13800000002', '13800000003', '13800000004', '13800000005',
	'13800000006', '13800000007', '13800000008', '13800000009', '13800000010');
SELECT count(*) FROM sender WHERE phone = ANY ('{}'::text[]);
SELECT count(*) FROM sender WHERE phone = NULL;
SELECT count(*) FROM sender WHERE phone IS NOT DISTINCT FROM '13800000007';
SELECT count(*) FROM sender WHERE phone IS DISTINCT FROM '13800000007';
SELECT count(*) FROM sender WHERE (phone, id) = ('13800000007', 7);
SELECT count(*) FROM sender WHERE (phone, name) IN (('13800000007', '客户7'), ('13800000008', '客户7'));
SELECT CASE phone WHEN '13800000007' THEN 'seven' ELSE 'other' END FROM sender WHERE id IN (7, 8) ORDER BY id;
SELECT phone = '13800000007' AS is_seven FROM sender WHERE id IN (7, 8) ORDER BY id;
SELECT NULLIF(phone, '13800000007') IS NULL AS is_seven FROM sender WHERE id IN (7, 8) ORDER BY id;
SELECT id FROM sender WHERE phone = (SELECT '13800000007'::text);
SELECT id FROM sender WHERE phone = (SELECT '13800000007');
SELECT id FROM sender WHERE phone IN (SELECT p.phone FROM parcel p WHERE p.id = 5);
SELECT id FROM sender WHERE phone IN (VALUES ('13800000007'), ('13800000008')) ORDER BY id;

PREPARE by_unknown AS SELECT id FROM sender WHERE phone = $1;
PREPARE by_text(text) AS SELECT id FROM sender WHERE phone = $1;
PREPARE by_varchar(varchar) AS SELECT id FROM sender WHERE phone = $1;
PREPARE by_array(text[]) AS SELECT count(*) FROM sender WHERE phone = ANY ($1);
PREPARE by_unknown_array AS SELECT count(*) FROM sender WHERE phone = ANY ($1);
SET plan_cache_mode = force_custom_plan;
EXECUTE by_unknown('13800000007');
EXECUTE by_text('13800000007');
EXECUTE by_varchar('13800000007');
EXECUTE by_array('{13800000007,13800000009}');
EXECUTE by_unknown_array('{13800000007,13800000009}');
PREPARE by_varchar_array(varchar[]) AS SELECT count(*) FROM sender WHERE phone = ANY ($1);
SET plan_cache_mode = force_generic_plan;
SET enable_bitmapscan = off; SET enable_seqscan = off;
EXECUTE by_varchar_array('{13800000007,13800000009}');
EXPLAIN (COSTS OFF) EXECUTE by_varchar_array('{13800000007,13800000009}');
EXPLAIN (COSTS OFF) EXECUTE by_unknown_array('{13800000007,13800000009}');
EXECUTE by_unknown('13800000007');
EXECUTE by_text('13800000007');
EXECUTE by_varchar('13800000007');
EXECUTE by_array('{13800000007,13800000009}');
EXECUTE by_unknown_array('{13800000007,13800000009}');
EXPLAIN (COSTS OFF) EXECUTE by_unknown('13800000007');
EXPLAIN (COSTS OFF) EXECUTE by_text('13800000007');
EXPLAIN (COSTS OFF) EXECUTE by_varchar('13800000007');
EXPLAIN (COSTS OFF) EXECUTE by_array('{13800000007,13800000009}');
RESET plan_cache_mode;
SELECT id FROM parcel WHERE phone = '13800000003' AND idno = '11010119900101002X';
SELECT id FROM parcel WHERE idno = '11010119900101002X';
SELECT count(*) FROM parcel WHERE phone = '13800000003';
SELECT count(*) FROM parcel WHERE phone IN ('13800000003', '13800000004');
RESET enable_seqscan;
RESET enable_bitmapscan;

-- joins
SELECT count(*) FROM sender s JOIN parcel p ON s.phone = p.phone;
SELECT count(*) FROM sender s JOIN parcel p USING (phone);
SET enable_indexscan = off; SET enable_hashjoin = off; SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM sender s JOIN parcel p ON s.phone = p.phone;
SELECT count(*) FROM sender s JOIN parcel p ON s.phone = p.phone;
RESET enable_hashjoin; SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM sender s JOIN parcel p ON s.phone = p.phone;
SELECT count(*) FROM sender s JOIN parcel p ON s.phone = p.phone;
RESET enable_indexscan; RESET enable_nestloop; RESET enable_mergejoin;
SELECT count(*) FROM parcel p JOIN (VALUES ('13800000003'::text), ('13800000004')) v(x) ON p.phone = v.x;
SELECT count(*) FROM parcel p LEFT JOIN sender s ON s.phone = p.phone AND s.phone = '13800000003' WHERE s.id IS NOT NULL;
SELECT count(*) FROM parcel p WHERE EXISTS (SELECT 1 FROM sender s WHERE s.phone = p.phone);
SELECT count(*) FROM parcel p JOIN sender s ON s.name = p.phone;

-- grouping and order
SELECT n, count(*) FROM (SELECT count(*) AS n FROM parcel GROUP BY phone) g GROUP BY n ORDER BY n;
SELECT count(*) FROM (SELECT DISTINCT phone FROM parcel) d;
SELECT count(DISTINCT phone) FROM parcel;
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT DISTINCT phone FROM parcel) d;
RESET enable_hashagg;
SELECT count(*) FROM (SELECT phone FROM parcel INTERSECT SELECT phone FROM sender) i;
SELECT count(*) FROM (SELECT phone FROM sender EXCEPT SELECT phone FROM parcel) e;
SELECT array_agg(id ORDER BY phone, id) = (SELECT array_agg(id ORDER BY phone, id) FROM sender) AS stable FROM sender;

-- keys
\set VERBOSITY terse
INSERT INTO sender VALUES (301, '+86 138-0000-0007', NULL);
INSERT INTO sender VALUES (301, '+86 138-0000-0007', NULL) ON CONFLICT (phone) DO UPDATE SET name = 'again' RETURNING id, name::text;
ALTER TABLE parcel ADD FOREIGN KEY (phone) REFERENCES sender (phone) ON DELETE CASCADE;
INSERT INTO parcel (id, phone) VALUES (601, '13911111111');
\set VERBOSITY default
INSERT INTO parcel (id, phone) VALUES (601, '138 0000 0007');
DELETE FROM sender WHERE phone = '13800000007';
SELECT count(*) FROM parcel WHERE phone = '13800000007';

-- normalisation
SELECT v, '13800138000'::courier_pii.phone = v::text AS same
FROM unnest('{13800138000,+8613800138000,0086-13800138000,138 0013 8000,138-0013-8000,１３８００１３８０００,13800138001}'::text[]) v;
SELECT '11010119900101002X'::courier_pii.id_number = '11010119900101002x'::text AS id,
	'a.b@example.com'::courier_pii.email = 'A.B@EXAMPLE.COM'::text AS mail,
	'sf 123-456'::courier_pii.waybill_no = 'SF123456'::text AS waybill,
	'张 三'::courier_pii.person_name = '张三'::text AS name;

-- the last four characters
SELECT id FROM sender WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0009');
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0009');
SELECT count(*) FROM parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0009');
SELECT courier_pii.tail4_of('email', 'x');
SELECT courier_pii.tail4_of('nothing', 'x');
SELECT courier_pii.tail4('x'::courier_pii.email) IS NULL AS none;

-- a class without a tag
SELECT count(*) FROM parcel WHERE addr = '路1';
SELECT count(*) FROM parcel WHERE addr IN ('路1', '路2');
SELECT count(*) FROM parcel WHERE addr = '路1'::text;

-- without permission
\c - regress_courier_pii_blind
SET search_path = regress_search;
SELECT id FROM sender WHERE phone = '13800000009';
SELECT id FROM sender WHERE phone = '13800000009'::text;
SELECT id FROM sender WHERE phone IN ('13800000009', '1');
SELECT count(*) FROM sender WHERE phone <> '13800000009';
SELECT count(*) FROM sender WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '0009');
SELECT count(*) FROM sender s JOIN parcel p USING (phone);

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_search CASCADE;
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_owner', class))
FROM unnest('{person_name,phone,address,id_number,unit_name,waybill_no,item,note,email,account_no}'::text[]) class;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_blind;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_blind;
