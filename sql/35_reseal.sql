-- Opening a sealed column again, several columns in one rewrite, columns that
-- pgcrypto encrypted, and sealing values anew.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE SCHEMA regress_reseal AUTHORIZATION regress_courier_pii_owner;
RESET client_min_messages;
SET search_path = regress_reseal, public;

-- several columns at once
CREATE TABLE several (id int PRIMARY KEY, phone text UNIQUE DEFAULT '10086', name text, remark text CHECK (remark <> ''), mail text DEFAULT lower('X'));
INSERT INTO several VALUES (1, '13800000001', '王小明', 'r', 'a@example.com');
SELECT courier_pii.protect_columns('several', '{"phone": "phone", "remark": "note", "mail": "email"}');
SELECT courier_pii.protect_columns('several', '[]');
SELECT courier_pii.protect_columns('several', '{}');
SELECT courier_pii.protect_columns('several', '{"phone": 1}');
SELECT courier_pii.protect_columns('several', '{"phone": "phone", "nothing": "note"}');
SELECT courier_pii.protect_columns('several', '{"phone": "phone", "name": "person_name"}');
SELECT attname, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'several'::regclass AND attnum > 0 ORDER BY attnum;

-- messages of pgcrypto: OpenPGP and raw, armored; a wrong key changes nothing
CREATE TABLE old (id int, pgp bytea, raw bytea, armored text, plain text);
INSERT INTO old SELECT i, pgp_sym_encrypt('1380000000' || i, 'the key', 's2k-mode=1'), encrypt(convert_to('王小' || i, 'UTF8'), 'the key', 'aes'),
	armor(pgp_sym_encrypt('SF10000' || i, 'the key', 's2k-mode=1')), 'x' FROM generate_series(1, 3) i;
INSERT INTO old (id) VALUES (4);
SELECT courier_pii.protect_column('old', 'pgp', 'phone');
\set VERBOSITY sqlstate
SELECT courier_pii.protect_column('old', 'pgp', 'phone', 'another key');
\set VERBOSITY default
SELECT courier_pii.protect_column('old', 'id', 'phone', 'the key');
SELECT courier_pii.protect_column('old', 'pgp', 'phone', pgcrypto_key => 'the key');
SELECT courier_pii.protect_column('old', 'raw', 'person_name', pgcrypto_key => 'the key');
SELECT courier_pii.protect_column('old', 'armored', 'waybill_no', 'the key');
SELECT courier_pii.seal_pgcrypto('\x00'::bytea, 2);
SELECT id FROM old WHERE pgp = '13800000002' AND raw = '王小2' AND armored = 'SF100002';

-- opened again: values, default, keys and indexes; nobody else opens anything
CREATE TABLE opened (id int PRIMARY KEY, phone text NOT NULL UNIQUE DEFAULT '10086', at date);
CREATE INDEX opened_phone ON opened (phone);
INSERT INTO opened SELECT i, 13800000000 + i, '2026-11-01' FROM generate_series(1, 100) i;
SELECT md5(string_agg(phone, ',' ORDER BY id)) AS before FROM opened \gset
SELECT courier_pii.unprotect_column('opened', 'phone');
SELECT courier_pii.protect_column('opened', 'phone', 'phone');
SELECT courier_pii.create_masked_view('opened', 'regress_reseal_view');
SELECT courier_pii.open_existing(phone) FROM opened LIMIT 1;
SELECT courier_pii.reseal_value(phone) FROM opened LIMIT 1;
SELECT courier_pii.unprotect_column('opened', 'nothing');
SET ROLE regress_courier_pii_owner;
SELECT courier_pii.unprotect_column('regress_reseal.opened', 'phone');
RESET ROLE;
CREATE VIEW uses AS SELECT phone FROM opened;
CREATE INDEX opened_tail ON opened (courier_pii.tail4(phone));
SELECT courier_pii.unprotect_column('opened', 'phone');
DROP VIEW uses;
DROP INDEX opened_tail;
SELECT courier_pii.unprotect_column('opened', 'phone');
SELECT md5(string_agg(phone, ',' ORDER BY id)) = :'before' AS same FROM opened;
INSERT INTO opened (id) VALUES (0);
SELECT * FROM opened WHERE phone = '10086';
\d opened
SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'regress_reseal_view.opened'::regclass AND attname = 'phone';

-- resealing
CREATE TABLE again (id int, phone text) PARTITION BY RANGE (id);
CREATE TABLE again1 PARTITION OF again FOR VALUES FROM (0) TO (500);
CREATE TABLE again2 PARTITION OF again FOR VALUES FROM (500) TO (2000);
CREATE INDEX ON again (phone);
CREATE TABLE fired (n int);
CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_reseal.fired VALUES (1); RETURN NEW; END $$;
INSERT INTO again SELECT i, 13800000000 + i FROM generate_series(1, 1000) i;
CALL courier_pii.reseal('again', 'phone');
SELECT courier_pii.protect_column('again', 'phone', 'phone');
CREATE TRIGGER counts AFTER UPDATE ON again FOR EACH ROW EXECUTE FUNCTION count_it();
CREATE TABLE before AS SELECT id, phone FROM again;
SELECT min(courier_pii.sealed_epoch(phone)) AS epoch FROM again \gset
CALL courier_pii.reseal('again', 'phone');
SELECT count(*) AS changed FROM again JOIN before USING (id) WHERE courier_pii.sealed_send(again.phone) <> courier_pii.sealed_send(before.phone);
SELECT courier_pii.new_epoch('phone') > :epoch AS new;
INSERT INTO again VALUES (1001, '13800001001'), (1002, NULL);
SELECT courier_pii.sealed_epoch(phone) > :epoch AS new, count(*) FROM again GROUP BY 1 ORDER BY 1;
BEGIN;
CALL courier_pii.reseal('again', 'phone');
ROLLBACK;
CALL courier_pii.reseal('again', 'phone', 0);
CALL courier_pii.reseal('again', 'phone', 100, -1);
CALL courier_pii.reseal('again', 'nothing');
CALL courier_pii.reseal('again', 'phone', 150, 1);
SELECT courier_pii.sealed_epoch(phone) > :epoch AS new, count(*) FROM again GROUP BY 1 ORDER BY 1;
SELECT count(*) AS equal FROM again JOIN before USING (id) WHERE again.phone = before.phone;
SELECT count(*) AS fired FROM fired;
SELECT id FROM again WHERE phone = '13800000777';
SELECT count(*) FROM courier_pii.column_job;
SELECT * FROM courier_pii.stat_progress_reseal;

-- a default of the owner's does not run with the rights of the extension's owner
SET ROLE regress_courier_pii_owner;
CREATE TABLE calls (phone courier_pii.phone);
CREATE FUNCTION number() RETURNS courier_pii.phone LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'my code runs as %', current_user; END $$;
ALTER TABLE calls ALTER phone SET DEFAULT number();
RESET ROLE;
SELECT courier_pii.unprotect_column('calls', 'phone');
ALTER TABLE calls ALTER phone DROP DEFAULT;
SELECT courier_pii.unprotect_column('calls', 'phone');
-- code that the owner has in the table runs as the owner, whoever calls
SET ROLE regress_courier_pii_owner;
CREATE FUNCTION mine(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF current_user <> 'regress_courier_pii_owner' THEN RAISE EXCEPTION 'my code runs as %', current_user; END IF; RETURN $1; END $$;
CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_reseal.mine(1); RAISE NOTICE 'trigger'; RETURN NEW; END $$;
CREATE TABLE own (id int CHECK (regress_reseal.mine(id) > 0), phone text);
INSERT INTO own VALUES (1, '13800000001');
CREATE INDEX own_mine ON own (regress_reseal.mine(id));
CREATE TRIGGER always BEFORE UPDATE ON own FOR EACH ROW EXECUTE FUNCTION mine();
ALTER TABLE own ENABLE ALWAYS TRIGGER always;
ALTER TABLE own ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
RESET ROLE;
CALL courier_pii.protect_column_online('own', 'phone', 'phone');
SELECT courier_pii.new_epoch('phone') > :epoch AS new;
CALL courier_pii.reseal('own', 'phone');
SELECT count(DISTINCT courier_pii.sealed_epoch(phone)) FROM own;
DELETE FROM own;
-- and sees and searches no more than in any other statement
\c - regress_courier_pii_owner
SET search_path = regress_reseal;
CREATE FUNCTION seek() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE shown text;
BEGIN
	SELECT phone::text INTO shown FROM regress_reseal.own;
	RAISE NOTICE 'shown %', shown;
	EXECUTE 'SELECT count(*) FROM regress_reseal.own WHERE phone = $x$13800000001$x$' INTO shown;
	RAISE NOTICE 'found %', shown;
	RETURN NEW;
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE '%', SQLERRM;
	RETURN NEW;
END $$;
CREATE TABLE bait (id int, phone text);
INSERT INTO bait VALUES (1, '13800000009');
ALTER TABLE own DISABLE TRIGGER always, NO FORCE ROW LEVEL SECURITY;
INSERT INTO own VALUES (1, '13800000001');
CREATE TRIGGER seek BEFORE UPDATE ON bait FOR EACH ROW EXECUTE FUNCTION seek();
ALTER TABLE bait ENABLE ALWAYS TRIGGER seek;
CALL courier_pii.protect_column_online('bait', 'phone', 'phone');
-- planning what looks for rows that are left calls what is immutable in indexes
CREATE FUNCTION part(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'my code runs as a superuser'; END IF; RETURN 'x'; END $$;
CREATE TABLE parts (id int, phone text);
INSERT INTO parts VALUES (1, '13800000009');
CREATE INDEX ON parts ((id::text || regress_reseal.part(1)));
CREATE STATISTICS parts_st ON (id::text || regress_reseal.part(2)), id FROM parts;
CALL courier_pii.protect_column_online('parts', 'phone', 'phone');
CALL courier_pii.reseal('parts', 'phone');
SET client_min_messages = error;
DROP STATISTICS parts_st;
-- what an index calls while it is built searches no more than elsewhere
CREATE TABLE log_of (what text);
CREATE FUNCTION find(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
	EXECUTE 'SELECT count(*) FROM regress_reseal.own WHERE phone = $x$13800000001$x$' INTO found;
	INSERT INTO regress_reseal.log_of VALUES ('found ' || found);
	RETURN 'x';
EXCEPTION WHEN insufficient_privilege THEN
	RETURN 'x';
END $$;
CREATE TABLE built (id int, phone text);
CREATE INDEX ON built (find(id));
CREATE INDEX ON built (phone) WHERE find(id) = 'x';
CREATE TABLE built_online (LIKE built INCLUDING ALL);
INSERT INTO built VALUES (1, '13800000009');
INSERT INTO built_online VALUES (1, '13800000009');
SELECT courier_pii.protect_column('built', 'phone', 'phone');
CALL courier_pii.protect_column_online('built_online', 'phone', 'phone');
SELECT * FROM log_of;
DROP FUNCTION find(int) CASCADE;
DROP FUNCTION part(int) CASCADE;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_reseal, regress_reseal_view CASCADE;
DROP ROLE regress_courier_pii_owner;
