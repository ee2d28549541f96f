-- The advisor: direct privileges, and plain columns that look like personal data.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_app LOGIN;
CREATE ROLE regress_courier_pii_owner;
CREATE ROLE regress_courier_pii_officer LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
GRANT pii_security_admin TO regress_courier_pii_officer;
GRANT pii_auditor TO regress_courier_pii_auditor;
CREATE SCHEMA regress_adv;
GRANT USAGE ON SCHEMA regress_adv TO regress_courier_pii_owner, regress_courier_pii_app;
SET search_path = regress_adv;
CREATE TABLE waybill (id int PRIMARY KEY, phone text, sjrdh text, name text, recv_snap jsonb, state text, a1 text, a2 bigint, a3 text, a4 text, a5 text[], a6 text, model_name text);
INSERT INTO waybill
SELECT i, '1380000' || lpad(i::text, 4, '0'), NULL, (ARRAY['王','李','张','刘','陈'])[i % 5 + 1] || chr(20000 + i), jsonb_build_object('to', jsonb_build_object('tel', '1390000' || lpad(i::text, 4, '0'))),
	(ARRAY['成功','高级','马上'])[i % 3 + 1], '1370000' || lpad(i::text, 4, '0'), 13600000000 + i, CASE WHEN i % 10 = 0 THEN '请打 1350000' || lpad(i::text, 4, '0') ELSE '放门口' END,
	'广东省深圳市南山区科技园路' || i || '号', ARRAY['x', '1340000' || lpad(i::text, 4, '0')], '99000019900101001' || '7', 'box'
FROM generate_series(1, 300) i;
CREATE TABLE scan (id int, day date, phone text, message text) PARTITION BY RANGE (day);
CREATE TABLE scan_1 PARTITION OF scan FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE empty ("收件人电话" text, lxdh varchar(20), remark text);
ALTER TABLE waybill ADD COLUMN gone text;
ALTER TABLE waybill DROP COLUMN gone;
ALTER TABLE waybill OWNER TO regress_courier_pii_owner;
SELECT courier_pii.protect_column('waybill', 'phone', 'phone'), courier_pii.protect_column('scan', 'phone', 'phone');
GRANT SELECT, UPDATE ON waybill TO regress_courier_pii_app;
GRANT SELECT (id), UPDATE (message) ON scan TO PUBLIC;
CREATE TYPE citext AS (a text);
CREATE FUNCTION shout_cast(citext) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'my code runs as %', current_user; END $$;
CREATE CAST (citext AS text) WITH FUNCTION shout_cast(citext);
CREATE TABLE odd (phone citext, other text);
INSERT INTO odd VALUES (ROW('13800000001'), '13800000001');
GRANT SELECT ON scan_1 TO regress_courier_pii_app;
GRANT pg_read_all_data TO regress_courier_pii_app;
ALTER DEFAULT PRIVILEGES FOR ROLE regress_courier_pii_owner IN SCHEMA regress_adv GRANT SELECT ON TABLES TO regress_courier_pii_app;
CREATE VIEW past AS SELECT id, phone FROM waybill;
CREATE MATERIALIZED VIEW copy AS SELECT id, a1 AS mobile FROM waybill;
SELECT courier_pii.create_masked_view('waybill', 'regress_advview');

\c - regress_courier_pii_officer
SELECT kind, tbl, col, CASE grantee WHEN :'superuser' THEN 'a superuser' ELSE grantee END AS grantee, privilege, class, detail FROM courier_pii.exposure
WHERE tbl::text LIKE 'regress_adv%' OR grantee LIKE 'regress%' ORDER BY kind, tbl::text COLLATE "C", col, grantee, privilege;
SELECT tbl, col, type, class, evidence, share, sampled FROM courier_pii.suspects WHERE tbl::text LIKE 'regress_adv%' ORDER BY tbl::text COLLATE "C", col COLLATE "C";
-- names alone, and a smaller sample
SELECT tbl, col, class, evidence, sampled FROM courier_pii.find_suspects(0) WHERE tbl::text LIKE 'regress_adv%' ORDER BY tbl::text COLLATE "C", col COLLATE "C";
SELECT count(*) > 5 AS some, max(sampled) FROM courier_pii.find_suspects(10) WHERE tbl::text LIKE 'regress_adv%';
SELECT * FROM courier_pii.find_suspects(-1);
SELECT * FROM courier_pii.find_suspects(1000000);
SELECT phone FROM regress_adv.waybill;
\c - regress_courier_pii_auditor
SELECT count(*) > 5 AS some FROM courier_pii.suspects;
SELECT count(*) > 5 AS some FROM courier_pii.exposure;
\c - regress_courier_pii_app
SELECT * FROM courier_pii.suspects;
SELECT * FROM courier_pii.exposure;
SELECT * FROM courier_pii.find_suspects();
\c - :superuser
SET client_min_messages = error;
-- a table with a row policy, a rule on it, and values that would run code: nothing runs
SET search_path = regress_adv;
CREATE FUNCTION shout(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'my code runs as %', current_user; END $$;
CREATE TABLE trap (phone text);
INSERT INTO trap VALUES ('13800000001');
ALTER TABLE trap ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY trap ON trap USING (shout(phone));
CREATE VIEW trap_view AS SELECT phone FROM trap WHERE shout(phone);
CREATE FUNCTION part(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'my code runs as a superuser'; END IF; RETURN 'x'; END $$;
ALTER TABLE trap OWNER TO regress_courier_pii_owner;
CREATE INDEX ON trap ((phone || regress_adv.part(1)));
CREATE INDEX ON trap (phone) WHERE phone > regress_adv.part(2);
CREATE STATISTICS trap_parts ON (phone || regress_adv.part(3)) FROM trap;
SELECT tbl, col, class, evidence, share FROM courier_pii.find_suspects() WHERE tbl = 'trap'::regclass;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_adv, regress_advview CASCADE;
REVOKE pii_security_admin FROM regress_courier_pii_officer;
REVOKE pii_auditor FROM regress_courier_pii_auditor;
DROP OWNED BY regress_courier_pii_app, regress_courier_pii_owner, regress_courier_pii_officer, regress_courier_pii_auditor;
DROP ROLE regress_courier_pii_app, regress_courier_pii_owner, regress_courier_pii_officer, regress_courier_pii_auditor;
