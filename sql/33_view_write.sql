-- Upsert, row locks and awkward tables behind masked views.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_clerk LOGIN;
CREATE ROLE regress_courier_pii_entry LOGIN;
CREATE SCHEMA regress_up;
SET search_path = regress_up;
CREATE TYPE kind AS ENUM ('send', 'receive');
CREATE DOMAIN weight AS numeric(8,2) CHECK (VALUE > 0);
CREATE TABLE station (code text PRIMARY KEY, name text);
INSERT INTO station VALUES ('SZ', 'Shenzhen'), ('HZ', 'Hangzhou');
CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mobile varchar(20) NOT NULL UNIQUE, name varchar(12) NOT NULL,
	station text REFERENCES station ON UPDATE CASCADE, kind kind DEFAULT 'send', kg weight, tags text[], extra jsonb, seen timestamptz(0),
	pad char(4), visits int NOT NULL DEFAULT 1, twice int GENERATED ALWAYS AS (visits * 2) STORED);
CREATE TABLE booking (customer_id bigint REFERENCES customer ON DELETE CASCADE, day date, PRIMARY KEY (customer_id, day));
SELECT courier_pii.protect_column('customer', 'mobile', 'phone'), courier_pii.protect_column('customer', 'name', 'person_name');
CREATE SCHEMA regress_upview;
GRANT USAGE ON SCHEMA regress_upview TO PUBLIC;
SELECT courier_pii.create_masked_view('customer', 'regress_upview'), courier_pii.grant_disclosure('regress_courier_pii_clerk', 'phone', 'clear');
GRANT SELECT, INSERT, UPDATE, DELETE ON regress_upview.customer TO regress_courier_pii_clerk, regress_courier_pii_entry;
\c - regress_courier_pii_clerk
SET search_path = regress_upview;

-- upsert by a protected key: what ON CONFLICT (mobile) would do
SELECT courier_pii.upsert('customer', '{"mobile": "13800000001", "name": "李小云", "station": "SZ", "kg": 1.5, "tags": "{a,b}", "extra": {"x": [1]}}', '{mobile}');
SELECT courier_pii.upsert('customer', '{"mobile": "+86 138 0000 0001", "name": "李大云", "visits": 5}', '{mobile}');
SELECT id, mobile, name, station, kind, kg, tags, extra, pad, visits, twice FROM customer;
SELECT courier_pii.upsert('customer', '{"id": 1, "mobile": "13800000001"}', '{id,mobile}');
SELECT courier_pii.upsert('customer', '{"id": 1, "station": "HZ", "kg": null}', '{id}');
SELECT courier_pii.upsert('customer', '{"mobile": "13800000001", "visits": 1}', '{"mobile","nothing"}');
SELECT courier_pii.upsert('customer', '{"mobile": "13800000001", "wrong": 1}', '{mobile}');
SELECT courier_pii.upsert('customer', '{"mobile": null, "name": "x"}', '{mobile}');
SELECT courier_pii.upsert('customer', '[]', '{mobile}');
SELECT courier_pii.upsert('customer', '{"mobile": "13800000002", "name": "x"}', '{}');
SELECT courier_pii.upsert('customer', '{"mobile": "13800000002", "name": "张**"}', '{mobile}');
SELECT courier_pii.upsert('customer', '{"mobile": "13800000002", "name": "张伟", "visits": "many"}', '{mobile}');
SELECT courier_pii.upsert('pg_class', '{"oid": 1}', '{oid}');
-- in plain SQL
WITH u AS (UPDATE customer SET visits = visits + 1 WHERE mobile = '13800000003' RETURNING id)
INSERT INTO customer (mobile, name) SELECT '13800000003', '王芳' WHERE NOT EXISTS (SELECT FROM u);
WITH u AS (UPDATE customer SET visits = visits + 1 WHERE mobile = '13800000003' RETURNING id)
INSERT INTO customer (mobile, name) SELECT '13800000003', '王芳' WHERE NOT EXISTS (SELECT FROM u);
SELECT mobile, visits FROM customer ORDER BY id;
-- what PostgreSQL does not allow
INSERT INTO customer (mobile, name) VALUES ('13800000003', '王芳') ON CONFLICT (mobile) DO UPDATE SET visits = 9;
-- instead of MERGE: one statement for each of its branches; a join compares what is shown, so it goes by native keys
WITH source(mobile, add) AS (VALUES ('13800000001', 10), ('13800000003', 20)), updated AS
	(UPDATE customer c SET visits = visits + add FROM source s WHERE c.mobile = s.mobile RETURNING c.id) SELECT count(*) FROM updated;
WITH source(id, add) AS (VALUES (1, 10), (99, 20)), updated AS
	(UPDATE customer c SET visits = visits + add FROM source s WHERE c.id = s.id RETURNING c.id)
INSERT INTO customer (mobile, name, visits) SELECT '1390000' || to_char(id, 'FM0000'), '新', add FROM source WHERE id NOT IN (SELECT id FROM updated) RETURNING mobile, visits;
-- defaults, domains, enums, references, generated columns
UPDATE customer SET kind = 'receive', kg = 2.345, seen = '2026-01-02 03:04:05.6+08', pad = 'ab' WHERE id = 1 RETURNING kind, kg, pad, twice;
UPDATE customer SET kg = -1 WHERE id = 1;
UPDATE customer SET station = 'XX' WHERE id = 1;
UPDATE customer SET kind = DEFAULT WHERE id = 1 RETURNING kind;
\c - :superuser
SET search_path = regress_up;
UPDATE station SET code = 'GZ' WHERE code = 'HZ';
INSERT INTO booking VALUES (1, '2026-01-01');
\c - regress_courier_pii_clerk
SET search_path = regress_upview;
SELECT station FROM customer WHERE id = 1;
DELETE FROM customer WHERE id = 1 RETURNING id;

-- rows are locked before they are shown, where the conditions allow it
PREPARE up(text) AS UPDATE customer SET visits = visits + 1 WHERE mobile = $1;
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) UPDATE customer SET visits = visits + 1 WHERE id = 3;
EXPLAIN (COSTS OFF) EXECUTE up('13800000003');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE up('13800000003');
EXECUTE up('13800000003');
SET enable_seqscan = on;
EXPLAIN (COSTS OFF) DELETE FROM customer WHERE mobile LIKE '%3';
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) UPDATE customer SET visits = 1 WHERE id IN (SELECT 3);
SELECT mobile, visits FROM customer ORDER BY id;

-- without search permission there is no finding by real value
\c - regress_courier_pii_entry
SET search_path = regress_upview;
SELECT courier_pii.upsert('customer', '{"mobile": "13800000003", "name": "王芳"}', '{mobile}');
SELECT courier_pii.upsert('customer', '{"id": 3, "visits": 7}', '{id}');
INSERT INTO customer (mobile, name) VALUES ('13800000009', '赵六') RETURNING mobile, name;
-- rows are found by the operator of the key, not by one of the writer
\c - :superuser
CREATE SCHEMA regress_upown AUTHORIZATION regress_courier_pii_clerk;
CREATE DOMAIN regress_up.pad_code AS char(4);
CREATE TABLE regress_up.parcel (a int, b regress_up.pad_code, phone courier_pii.phone, state int, PRIMARY KEY (a, b));
INSERT INTO regress_up.parcel VALUES (1, 'ab', '13800138000', 1), (2, 'ac', '13800138001', 1);
SELECT courier_pii.create_masked_view('regress_up.parcel', 'regress_upview');
GRANT SELECT, UPDATE, DELETE ON regress_upview.parcel TO regress_courier_pii_clerk;
GRANT USAGE ON SCHEMA regress_up TO regress_courier_pii_clerk;
\c - regress_courier_pii_clerk
CREATE FUNCTION regress_upown.equal(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'my operator runs as %', current_user; RETURN true; END $$;
CREATE FUNCTION regress_upown.equal(regress_up.pad_code, regress_up.pad_code) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'my operator runs as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_upown.= (FUNCTION = regress_upown.equal, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR regress_upown.= (FUNCTION = regress_upown.equal, LEFTARG = regress_up.pad_code, RIGHTARG = regress_up.pad_code);
SET search_path = regress_upown, pg_catalog;
UPDATE regress_upview.parcel SET state = 2 WHERE a < 2;
DELETE FROM regress_upview.parcel WHERE a > 1;
SELECT a, b, state FROM regress_upview.parcel;
RESET search_path;
\c - :superuser
SELECT count(*) FROM regress_up.booking;
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_up, regress_upview, regress_upown CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clerk', 'phone');
DROP OWNED BY regress_courier_pii_clerk, regress_courier_pii_entry;
DROP ROLE regress_courier_pii_clerk, regress_courier_pii_entry;
