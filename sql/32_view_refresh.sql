-- Masked views follow their tables.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_other LOGIN;
CREATE ROLE regress_courier_pii_clerk LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_follow;
SET search_path = regress_follow;
CREATE TABLE task (id bigint PRIMARY KEY, waybill_id bigint, courier_no text, done date);
CREATE TABLE waybill (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, phone text, name text, branch text,
	made timestamptz DEFAULT '2026-01-02 03:04:05+08', serial int DEFAULT 7, state int NOT NULL DEFAULT 1);
INSERT INTO waybill (phone, name, branch) VALUES ('13800000001', '王小一', 'SZ'), ('13800000002', '王小二', 'HZ');
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill TO regress_courier_pii_clerk;
GRANT SELECT (phone), UPDATE (branch) ON waybill TO regress_courier_pii_other;
SELECT courier_pii.protect_column('waybill', 'phone', 'phone');
\c - :superuser
SET search_path = regress_follow;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
CREATE SCHEMA regress_fview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_fview, regress_follow TO PUBLIC;
SELECT courier_pii.create_masked_view('waybill', 'regress_fview', '{"made": "day"}', true);
SELECT courier_pii.set_row_rule('waybill', 'regress_courier_pii_clerk', 'branch',
	visible => '{"branch = ''SZ''"}', scope => '{"id in task.waybill_id where courier_no = actor.login"}', scope_columns => '{phone,name}');
SELECT courier_pii.grant_disclosure('regress_courier_pii_clerk', 'phone', 'clear', tbl => 'waybill', col => 'phone');
COMMENT ON VIEW regress_fview.waybill IS 'for the counter';
CREATE FUNCTION regress_follow.shape() RETURNS TABLE (col text, type text, def text) LANGUAGE sql AS $$
	SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid)
	FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid = 'regress_fview.waybill'::regclass AND a.attnum > 0 ORDER BY a.attnum $$;
CREATE FUNCTION regress_follow.views() RETURNS TABLE (view regclass, tbl regclass, masks jsonb) LANGUAGE sql SECURITY DEFINER AS
	'SELECT view, tbl, masks FROM courier_pii.masked_views';
CREATE FUNCTION regress_follow.rules() RETURNS TABLE (tbl regclass, visible text[], scope text[], scope_columns name[]) LANGUAGE sql SECURITY DEFINER AS
	'SELECT tbl, visible, scope, scope_columns FROM courier_pii.row_rules';
SELECT c.oid::regclass AS relation, replace(a::text, 'Dxtm/', 'Dxt/') AS access FROM pg_class c, unnest(c.relacl) a WHERE c.oid = 'regress_fview.waybill'::regclass ORDER BY c.oid::regclass::text, 2;
SELECT attrelid::regclass AS relation, attname, attacl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL AND c.oid = 'regress_fview.waybill'::regclass ORDER BY attrelid::regclass::text, attnum;

-- as the owner: a company's migrations
\c - regress_courier_pii_owner
SET search_path = regress_follow;
SELECT 'regress_fview.waybill'::regclass::oid AS before \gset
CREATE VIEW regress_fview.counter AS SELECT id, branch, upper(phone) AS phone FROM regress_fview.waybill WHERE state = 1;
GRANT SELECT ON regress_fview.counter TO regress_courier_pii_other;
ALTER TABLE waybill ADD COLUMN remark text DEFAULT 'none', ADD COLUMN weight numeric(8,2);
ALTER TABLE waybill ALTER COLUMN serial SET DEFAULT 8;
ALTER TABLE waybill RENAME COLUMN branch TO "网点";
ALTER TABLE waybill RENAME COLUMN made TO made_at;
ALTER TABLE task RENAME COLUMN courier_no TO courier;
ALTER TABLE task RENAME TO delivery_task;
SELECT * FROM shape();
SELECT * FROM views() WHERE view = 'regress_fview.waybill'::regclass;
SELECT * FROM rules() WHERE tbl = 'waybill'::regclass;
SELECT 'regress_fview.waybill'::regclass::oid = :before AS same_view;
-- columns go and change: another view, the same rights, and what builds on it
ALTER TABLE waybill DROP COLUMN serial;
ALTER TABLE waybill ALTER COLUMN state TYPE bigint, ALTER COLUMN made_at TYPE timestamp USING made_at AT TIME ZONE 'Asia/Shanghai';
ALTER TABLE waybill DROP COLUMN IF EXISTS nothing;
SELECT * FROM shape();
SELECT 'regress_fview.waybill'::regclass::oid = :before AS same_view;
SELECT relowner::regrole, reloptions, obj_description(oid) FROM pg_class WHERE oid = 'regress_fview.waybill'::regclass;
SELECT c.oid::regclass AS relation, replace(a::text, 'Dxtm/', 'Dxt/') AS access FROM pg_class c, unnest(c.relacl) a WHERE c.relnamespace = 'regress_fview'::regnamespace ORDER BY c.oid::regclass::text, 2;
SELECT attrelid::regclass AS relation, attname, attacl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL AND c.relnamespace = 'regress_fview'::regnamespace ORDER BY attrelid::regclass::text, attnum;
\d regress_fview.counter
SELECT replace(pg_get_viewdef('regress_fview.counter'), 'waybill.', '');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_fview.waybill'::regclass;
-- another column becomes protected while the view stands
SELECT courier_pii.protect_column('waybill', 'name', 'person_name');
SELECT courier_pii.protect_column('waybill', 'remark', 'note');
SELECT * FROM shape();
-- a column that rules test stays; one in a scope may go
ALTER TABLE waybill DROP COLUMN "网点";
ALTER TABLE delivery_task DROP COLUMN courier CASCADE;
ALTER TABLE delivery_task ALTER COLUMN courier TYPE varchar(40);
-- a protected column with rows goes with a ticket
ALTER TABLE waybill DROP COLUMN name;
SELECT courier_pii.request('destroy', 'names are not needed', '{"table": "waybill"}') AS ticket \gset
\c - :superuser
SELECT courier_pii.approve(:ticket);
\c - regress_courier_pii_owner
SET search_path = regress_follow;
SET courier_pii.ticket = :ticket;
ALTER TABLE waybill DROP COLUMN name;
RESET courier_pii.ticket;
SELECT * FROM rules() WHERE tbl = 'waybill'::regclass;
-- a mask whose column has a type that it cannot cut hides the column
ALTER TABLE waybill ALTER COLUMN made_at TYPE text;
SELECT made_at FROM waybill WHERE id = 1;
INSERT INTO delivery_task VALUES (1, 1, 'regress_courier_pii_clerk', NULL);
\c - regress_courier_pii_clerk
SELECT id, phone, "网点", made_at, state, weight, remark FROM regress_fview.waybill;
INSERT INTO regress_fview.waybill (phone, "网点", weight) VALUES ('13800000003', 'SZ', 2.5) RETURNING id, phone, weight, remark, state;
UPDATE regress_fview.waybill SET weight = 3 WHERE phone = '13800000003' RETURNING id, weight;
SELECT courier_pii.refresh_masked_view('regress_fview.waybill');
ALTER TABLE regress_follow.waybill ADD COLUMN mine text;
\c - regress_courier_pii_other
SELECT phone FROM regress_fview.waybill;
SELECT id FROM regress_fview.waybill;
SELECT * FROM regress_fview.counter;
\c - regress_courier_pii_owner
SET search_path = regress_follow;
SELECT courier_pii.refresh_masked_view('regress_fview.waybill', '{"made_at": "day"}');
SELECT courier_pii.refresh_masked_view('regress_fview.waybill', '{}');
SELECT courier_pii.refresh_masked_view('waybill');
SELECT courier_pii.refresh_masked_view(NULL);
-- what cannot be made again is named, and nothing has changed
CREATE MATERIALIZED VIEW regress_fview.kept AS SELECT id, state FROM regress_fview.waybill;
ALTER TABLE waybill DROP COLUMN weight;
DROP MATERIALIZED VIEW regress_fview.kept;
CREATE VIEW regress_fview.needs AS SELECT w.weight FROM regress_fview.waybill w, (VALUES (1)) v;
ALTER TABLE waybill DROP COLUMN weight;
SELECT * FROM shape();
DROP VIEW regress_fview.needs;
BEGIN;
ALTER TABLE waybill DROP COLUMN weight;
ROLLBACK;
SELECT count(*) FROM shape() WHERE col = 'weight';
DO $$ BEGIN EXECUTE 'ALTER TABLE regress_follow.waybill DROP COLUMN weight'; END $$;
SELECT count(*) FROM shape() WHERE col = 'weight';
-- names and owner
ALTER TABLE waybill RENAME TO parcel;
SELECT * FROM views() WHERE tbl = 'parcel'::regclass;
CREATE SCHEMA regress_follow2;
ALTER TABLE delivery_task SET SCHEMA regress_follow2;
SELECT scope FROM rules() WHERE tbl = 'parcel'::regclass;
ALTER SCHEMA regress_follow2 RENAME TO regress_follow3;
SELECT scope FROM rules() WHERE tbl = 'parcel'::regclass;
SELECT courier_pii.refresh_masked_view('regress_fview.parcel');
\c - :superuser
SET search_path = regress_follow;
ALTER TABLE parcel OWNER TO regress_courier_pii_other;
GRANT USAGE ON SCHEMA regress_follow3 TO regress_courier_pii_other;
GRANT SELECT ON regress_follow3.delivery_task TO regress_courier_pii_other;
ALTER TABLE parcel OWNER TO regress_courier_pii_other;
SELECT relowner::regrole FROM pg_class WHERE oid = 'regress_fview.parcel'::regclass;
\c - regress_courier_pii_clerk
SELECT id, phone FROM regress_fview.parcel ORDER BY id;
\c - :superuser
SET search_path = regress_follow;
-- partitions and children
CREATE TABLE scan (id int, day date, phone text, note text) PARTITION BY RANGE (day);
CREATE TABLE scan_1 PARTITION OF scan FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT courier_pii.protect_column('scan', 'phone', 'phone');
SELECT courier_pii.create_masked_view('scan', 'regress_fview'), courier_pii.create_masked_view('scan_1', 'regress_fview');
ALTER TABLE scan ADD COLUMN station text;
ALTER TABLE scan DROP COLUMN note;
CREATE TABLE scan_2 PARTITION OF scan FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT attrelid::regclass, attname FROM pg_attribute WHERE attrelid IN ('regress_fview.scan'::regclass, 'regress_fview.scan_1'::regclass) AND attnum > 0 ORDER BY attrelid::regclass::text, attnum;
-- dropped with the table, entries and all
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP TABLE scan;
SELECT to_regclass('regress_fview.scan'), to_regclass('regress_fview.scan_1');
DROP TABLE parcel;
DROP VIEW regress_fview.counter;
DROP TABLE parcel;
SELECT to_regclass('regress_fview.parcel');
SELECT count(*) FROM courier_pii.masked_view_register m WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = m.view);
SELECT count(*) FROM courier_pii.row_rule r WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.tbl);
SELECT count(*) FROM courier_pii.disclosure d WHERE d.tbl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.tbl);
DROP SCHEMA regress_follow, regress_follow3, regress_fview CASCADE;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_other, regress_courier_pii_clerk;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_other, regress_courier_pii_clerk;
