-- Trojan code: somebody else's functions, operators, views, triggers, casts,
-- checks and foreign tables get no clear text.
\set VERBOSITY terse
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_victim LOGIN; CREATE ROLE regress_courier_pii_mallory LOGIN;
CREATE SCHEMA regress_trojan;
CREATE TABLE regress_trojan.parcel (id integer PRIMARY KEY, phone text);
INSERT INTO regress_trojan.parcel SELECT i, '138' || lpad(i::text, 8, '0') FROM generate_series(1, 3) i;
SELECT courier_pii.protect_column('regress_trojan.parcel', 'phone', 'phone');
SELECT courier_pii.create_masked_view('regress_trojan.parcel', 'regress_trojan_masked');
GRANT USAGE ON SCHEMA regress_trojan_masked TO regress_courier_pii_victim, regress_courier_pii_mallory;
GRANT SELECT ON regress_trojan_masked.parcel TO regress_courier_pii_victim, regress_courier_pii_mallory;
SELECT courier_pii.grant_disclosure('regress_courier_pii_victim', 'phone', 'clear');
GRANT CREATE ON DATABASE :DBNAME TO regress_courier_pii_mallory, regress_courier_pii_victim;

\c - regress_courier_pii_mallory
CREATE SCHEMA mallory;
GRANT USAGE ON SCHEMA mallory TO PUBLIC;
CREATE TABLE mallory.loot (what text);
GRANT INSERT ON mallory.loot TO PUBLIC;
CREATE FUNCTION mallory.keep(v text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO mallory.loot VALUES (v); RETURN v; END $$;
CREATE FUNCTION mallory.keep_sql(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT mallory.keep(v) $$;
CREATE FUNCTION mallory.read() RETURNS text LANGUAGE plpgsql AS
    $$ DECLARE v text; BEGIN SELECT phone INTO v FROM regress_trojan_masked.parcel WHERE id = 1; RETURN mallory.keep(v); END $$;
CREATE FUNCTION mallory.read_early() RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN (SELECT phone FROM regress_trojan_masked.parcel WHERE id = 1); END $$;
CREATE FUNCTION mallory.same(a text, b text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN PERFORM mallory.keep(a); RETURN a = b; END $$;
CREATE OPERATOR mallory.=== (FUNCTION = mallory.same, LEFTARG = text, RIGHTARG = text);
CREATE AGGREGATE mallory.gather(text) (SFUNC = textcat, STYPE = text, FINALFUNC = mallory.keep);
CREATE DOMAIN mallory.checked AS text CHECK (mallory.keep(VALUE) IS NOT NULL);
CREATE TYPE mallory.holder AS (v text);
CREATE FUNCTION mallory.to_holder(v text) RETURNS mallory.holder LANGUAGE plpgsql AS
    $$ BEGIN PERFORM mallory.keep(v); RETURN ROW(v)::mallory.holder; END $$;
CREATE CAST (text AS mallory.holder) WITH FUNCTION mallory.to_holder(text);
CREATE FUNCTION mallory.changed() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM mallory.read(); RETURN NEW; END $$;
CREATE TABLE mallory.bait (id integer);
GRANT INSERT, SELECT ON mallory.bait TO PUBLIC;
CREATE TRIGGER bait AFTER INSERT ON mallory.bait FOR EACH ROW EXECUTE FUNCTION mallory.changed();
CREATE VIEW mallory.nice AS SELECT id, phone FROM regress_trojan_masked.parcel;
CREATE VIEW mallory.nasty AS SELECT id, mallory.keep(phone) AS phone FROM regress_trojan_masked.parcel;
CREATE VIEW mallory.quiet AS SELECT id, phone FROM regress_trojan_masked.parcel WHERE pg_notify('c', phone) IS NOT NULL;
CREATE PROCEDURE mallory.fetch() LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.read(); END $$;
GRANT SELECT ON mallory.nice, mallory.nasty, mallory.quiet TO PUBLIC;

\c - regress_courier_pii_victim
CREATE SCHEMA victim;
CREATE FUNCTION victim.tail(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN right(v, 4); END $$;
CREATE FUNCTION victim.first_phone() RETURNS text LANGUAGE sql AS $$ SELECT phone FROM regress_trojan_masked.parcel WHERE id = 1 $$;
CREATE FUNCTION victim.calls_mallory(v text) RETURNS text LANGUAGE sql AS $$ SELECT mallory.keep(v) $$;
-- built-in functions and the person's own code: clear
SELECT upper(phone), length(phone), victim.tail(phone) FROM regress_trojan_masked.parcel ORDER BY id LIMIT 1;
SELECT string_agg(phone, ',' ORDER BY id) FROM regress_trojan_masked.parcel;
SELECT victim.first_phone();
DO $$ BEGIN RAISE NOTICE '%', (SELECT phone FROM regress_trojan_masked.parcel WHERE id = 2); END $$;
SELECT phone FROM mallory.nice WHERE id = 1;
-- somebody else's: masks
SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT mallory.keep_sql(phone) FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT phone FROM regress_trojan_masked.parcel WHERE id = 1 AND mallory.keep(phone) IS NOT NULL;
SELECT phone FROM regress_trojan_masked.parcel WHERE phone OPERATOR(mallory.===) 'x' OR id = 1;
SELECT mallory.gather(phone) FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT phone::mallory.checked FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT phone::mallory.holder FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT phone FROM mallory.nasty WHERE id = 1;
SELECT phone FROM mallory.quiet WHERE id = 1;
SELECT mallory.read();
SELECT mallory.read_early();
SELECT mallory.read(), phone FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT mallory.keep(victim.first_phone());
SELECT x FROM regress_trojan_masked.parcel p, LATERAL mallory.keep(p.phone) x WHERE id = 1;
SELECT phone FROM regress_trojan_masked.parcel ORDER BY mallory.keep(phone) LIMIT 1;
SELECT row_number() OVER (PARTITION BY mallory.keep(phone)), phone FROM regress_trojan_masked.parcel WHERE id = 1;
CALL mallory.fetch();
CALL mallory.fetch();
INSERT INTO mallory.bait VALUES (1);
PREPARE p AS SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = $1;
EXECUTE p(1); EXECUTE p(1); EXECUTE p(1); EXECUTE p(1); EXECUTE p(1); EXECUTE p(1);
BEGIN;
DECLARE c CURSOR FOR SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel ORDER BY id;
FETCH 1 FROM c;
COMMIT;
-- built-in functions that leave something behind
SELECT set_config('application_name', phone, false) FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT pg_notify('c', phone) FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT lo_from_bytea(0, convert_to(phone, 'UTF8')) IS NOT NULL, phone FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT pg_advisory_xact_lock(regexp_replace(phone, '\D', '', 'g')::bigint), phone FROM regress_trojan_masked.parcel WHERE id = 1;
SELECT query_to_xml('SELECT phone FROM regress_trojan_masked.parcel WHERE id = 1', false, true, '');
-- first shown, then handed on: refused
DO $$ DECLARE v text; BEGIN SELECT phone INTO v FROM regress_trojan_masked.parcel WHERE id = 1; v := mallory.keep(v); END $$;
DO $$ DECLARE v text; BEGIN v := mallory.keep(victim.first_phone()); END $$;
SELECT victim.calls_mallory(phone) FROM regress_trojan_masked.parcel WHERE id = 1;
CALL mallory.fetch();
-- the trail says why
\c - :superuser
CREATE ROLE regress_courier_pii_watch LOGIN; GRANT pii_auditor TO regress_courier_pii_watch;
SELECT courier_pii.audit_flush();
\c - regress_courier_pii_watch
SELECT DISTINCT detail->>'untrusted_code' AS code FROM courier_pii.audit_log
    WHERE detail->>'untrusted_code' LIKE '%(%' AND login_role = 'regress_courier_pii_victim' ORDER BY 1;
-- what mallory has got
\c - regress_courier_pii_mallory
SELECT DISTINCT what FROM mallory.loot ORDER BY what;

-- a function that says that it may run in parallel workers, where no account is
\c - regress_courier_pii_mallory
CREATE FUNCTION mallory.read_aside(i int) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS
    $$ BEGIN RETURN (SELECT phone FROM regress_trojan_masked.parcel WHERE id = i % 3 + 1); END $$;
CREATE TABLE mallory.many AS SELECT i FROM generate_series(1, 1000) i;
GRANT SELECT ON mallory.many TO PUBLIC;
ANALYZE mallory.many;
\c - regress_courier_pii_victim
SELECT max(mallory.read_aside(i)) FROM mallory.many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT max(mallory.read_aside(i)) FROM mallory.many;
SELECT max(mallory.read_aside(i)) FROM mallory.many;
CREATE FUNCTION victim.find(p text) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS
    $$ BEGIN RETURN (SELECT count(*) FROM regress_trojan_masked.parcel WHERE phone = p); END $$;
SELECT sum(victim.find('138' || lpad(i::text, 8, '0'))) FROM mallory.many;
SELECT max(phone) FROM regress_trojan_masked.parcel;

-- trusted as it is; no longer when it was changed
\c - :superuser
SELECT courier_pii.trust_function('mallory.keep(text)', 'reviewed');
SELECT signature, in_force, note FROM courier_pii.trusted_functions;
\c - regress_courier_pii_victim
SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 3;
PREPARE p AS SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 3;
EXECUTE p;
\c - regress_courier_pii_mallory
CREATE OR REPLACE FUNCTION mallory.keep(v text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO mallory.loot VALUES ('new ' || v); RETURN v; END $$;
\c - regress_courier_pii_victim
SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 3;
\c - :superuser
SELECT signature, in_force FROM courier_pii.trusted_functions;
SELECT courier_pii.trust_function('mallory.keep(text)');
\c - regress_courier_pii_victim
SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 3;
\c - :superuser
SELECT courier_pii.distrust_function('mallory.keep(text)'), courier_pii.distrust_function('mallory.keep(text)');
\c - regress_courier_pii_victim
SELECT mallory.keep(phone) FROM regress_trojan_masked.parcel WHERE id = 3;
-- not for everybody; a built-in function that a superuser replaced
SELECT courier_pii.trust_function('mallory.keep(text)');
\c - :superuser
SELECT courier_pii.trust_function('mallory.nothing(text)');
BEGIN;
CREATE OR REPLACE FUNCTION pg_catalog.lpad(text, integer) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT mallory.keep($1) $$;
SET SESSION AUTHORIZATION regress_courier_pii_victim;
SELECT lpad(phone, 20) FROM regress_trojan_masked.parcel WHERE id = 1;
ROLLBACK;
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_trojan_masked, regress_trojan, mallory, victim CASCADE;
REVOKE CREATE ON DATABASE :DBNAME FROM regress_courier_pii_mallory, regress_courier_pii_victim;
DROP OWNED BY regress_courier_pii_victim, regress_courier_pii_mallory, regress_courier_pii_watch;
DROP ROLE regress_courier_pii_victim, regress_courier_pii_mallory, regress_courier_pii_watch;
