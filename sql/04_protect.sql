-- Protecting columns of existing tables: what is kept, and every refusal.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_reader LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_protect;
SET search_path = regress_protect;
CREATE TABLE t (
	id int PRIMARY KEY,
	phone varchar(20) NOT NULL DEFAULT '10086',
	name text UNIQUE,
	mail text DEFAULT lower('X'),
	age int,
	weight float8,
	body json,
	n8 bigint,
	ch char(20),
	num numeric,
	made text GENERATED ALWAYS AS ('x') STORED,
	checked text CHECK (checked <> ''),
	part text,
	expr text,
	pattern text,
	viewed text,
	stat text,
	trig text,
	pub text
);
CREATE INDEX t_phone ON t (phone) WHERE phone <> '';
CREATE INDEX t_phone_all ON t (phone, id);
CREATE INDEX t_part ON t (id) WHERE part = 'x';
CREATE INDEX t_expr ON t (lower(expr));
CREATE INDEX t_pattern ON t (pattern text_pattern_ops);
CREATE VIEW v AS SELECT viewed FROM t;
CREATE STATISTICS s ON id, stat FROM t;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER tr BEFORE UPDATE OF trig ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE TABLE child (phone text REFERENCES t (name));
COMMENT ON COLUMN t.phone IS 'the phone';
GRANT SELECT (phone) ON t TO regress_courier_pii_reader;
INSERT INTO t (id, phone, name, n8, ch, num, body, age) VALUES (1, '13800000001', '张三', 13800000001, '13800000001', 13800000001, '{"a": 1}', 5), (2, DEFAULT, '李四*', NULL, NULL, NULL, NULL, 1);

-- refusals, which leave the table as it was
CREATE TABLE before AS SELECT md5(string_agg(attname || atttypid::text || attnotnull, ',' ORDER BY attnum)) AS m, (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t) AS d FROM pg_attribute WHERE attrelid = 't'::regclass;
SELECT courier_pii.protect_column('t', 'phone', 'shoe_size');
SELECT courier_pii.protect_column('t', 'phone', 'region');
SELECT courier_pii.protect_column('t', 'nothing', 'phone');
SELECT courier_pii.protect_column('t', 'ctid', 'phone');
SELECT courier_pii.protect_column('nowhere', 'phone', 'phone');
SELECT courier_pii.protect_column('t', 'weight', 'phone');
SELECT courier_pii.protect_column('t', 'body', 'phone');
SELECT courier_pii.protect_column('t', 'made', 'phone');
SELECT courier_pii.protect_column('t', 'checked', 'note');
SELECT courier_pii.protect_column('t', 'part', 'phone');
SELECT courier_pii.protect_column('t', 'expr', 'phone');
SELECT courier_pii.protect_column('t', 'pattern', 'phone');
SELECT courier_pii.protect_column('t', 'viewed', 'phone');
SELECT courier_pii.protect_column('t', 'stat', 'phone');
SELECT courier_pii.protect_column('t', 'trig', 'phone');
SELECT courier_pii.protect_column('t', 'mail', 'email');
-- a foreign key goes along (39_protect_keys), but not on values without search tags
SELECT courier_pii.protect_column('t', 'name', 'address');
SELECT courier_pii.protect_column('child', 'phone', 'note');
SELECT courier_pii.protect_column('t', 'phone', 'address');
SELECT courier_pii.protect_column('v', 'viewed', 'phone');
SELECT courier_pii.protect_column('pg_class', 'relname', 'phone');
SELECT courier_pii.protect_column('courier_pii.staff_register', 'display_name', 'person_name');
SELECT (m, d) = (SELECT m, d FROM before) AS unchanged
FROM (SELECT md5(string_agg(attname || atttypid::text || attnotnull, ',' ORDER BY attnum)) AS m, (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t) AS d FROM pg_attribute WHERE attrelid = 't'::regclass) x;
-- casts of the owner's own types would run with the rights of the extension's owner
CREATE TYPE citext AS (a text);
CREATE FUNCTION of_citext(citext) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'my code runs as %', current_user; END $$;
CREATE CAST (citext AS text) WITH FUNCTION of_citext(citext);
CREATE TYPE tint AS ENUM ('red');
CREATE FUNCTION of_tint(tint) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'my code runs as %', current_user; END $$;
CREATE CAST (tint AS text) WITH FUNCTION of_tint(tint) AS ASSIGNMENT;
CREATE TABLE casts (a citext, b text DEFAULT 'red'::tint);
INSERT INTO casts VALUES (ROW('13800000001'), '1');
SELECT courier_pii.protect_column('casts', 'a', 'phone');
SELECT courier_pii.protect_column('casts', 'b', 'phone');
CALL courier_pii.protect_column_online('casts', 'b', 'phone');
DROP TABLE casts;
GRANT USAGE ON SCHEMA regress_protect TO regress_courier_pii_reader;
\c - regress_courier_pii_reader
SELECT courier_pii.protect_column('regress_protect.t', 'phone', 'phone');

-- what is kept
\c - regress_courier_pii_owner
SET search_path = regress_protect;
ALTER TABLE child DROP CONSTRAINT child_phone_fkey;
DROP VIEW v;
SELECT courier_pii.protect_column('t', 'phone', 'phone');
DROP INDEX t_phone;
SELECT courier_pii.protect_column('t', c, k) FROM (VALUES ('phone', 'phone'), ('name', 'person_name'), ('n8', 'phone'), ('ch', 'phone'), ('num', 'phone'), ('body', 'note'), ('viewed', 'note')) v(c, k);
SELECT courier_pii.protect_column('t', 'phone', 'phone');
INSERT INTO t (id, name) VALUES (3, '王五');
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull, atthasdef FROM pg_attribute
WHERE attrelid = 't'::regclass AND attname IN ('phone', 'name', 'n8', 'ch', 'num', 'body') ORDER BY attnum;
SELECT indexrelid::regclass, indisunique, indisvalid, indnatts FROM pg_index WHERE indrelid = 't'::regclass AND indexrelid::regclass::text ~ 'phone|name' ORDER BY 1::text;
SELECT col_description('t'::regclass, 2), has_column_privilege('regress_courier_pii_reader', 't', 'phone', 'SELECT') AS kept;
SELECT pg_get_expr(adbin, adrelid) LIKE '%10086%' AS plain_default FROM pg_attrdef WHERE adrelid = 't'::regclass AND adnum = 2;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_reader', c, 'clear')) FROM unnest('{phone,person_name,note}'::text[]) c;
GRANT USAGE ON SCHEMA regress_protect TO regress_courier_pii_reader;
GRANT SELECT ON regress_protect.t TO regress_courier_pii_reader;
\c - regress_courier_pii_reader
SELECT id, phone::text, name::text, n8::text, ch::text, num::text, body::text FROM regress_protect.t ORDER BY id;
\c - regress_courier_pii_owner
SET search_path = regress_protect;
\set VERBOSITY terse
INSERT INTO t (id, phone) VALUES (4, NULL);
INSERT INTO t (id, name) VALUES (4, '王五');
\set VERBOSITY default

-- partitioned, temporary, inherited, empty
CREATE TABLE p (id int, phone text, note text) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (phone text, note text, id int);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
INSERT INTO p VALUES (1, '1', 'a'), (2, '2', 'b');
CREATE INDEX ON p (phone);
SELECT courier_pii.protect_column('p1', 'phone', 'phone');
SELECT courier_pii.protect_column('p', 'phone', 'phone');
SELECT attrelid::regclass, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid IN ('p'::regclass, 'p1'::regclass, 'p2'::regclass) AND attname = 'phone' ORDER BY 1::text;
CREATE TABLE k (id int, phone text PRIMARY KEY) PARTITION BY HASH (phone);
\set VERBOSITY sqlstate
SELECT courier_pii.protect_column('k', 'phone', 'phone');
\echo :LAST_ERROR_MESSAGE
\set VERBOSITY default
CREATE TABLE parent (phone text);
CREATE TABLE heir () INHERITS (parent);
SELECT courier_pii.protect_column('heir', 'phone', 'phone');
SELECT courier_pii.protect_column('parent', 'phone', 'phone');
SELECT attrelid::regclass, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid IN ('parent'::regclass, 'heir'::regclass) AND attname = 'phone' ORDER BY 1::text;
CREATE TABLE secured (id int, phone text);
CREATE POLICY pol ON secured USING (phone <> '');
SELECT courier_pii.protect_column('secured', 'phone', 'phone');
BEGIN;
SELECT courier_pii.protect_column('child', 'phone', 'phone');
ROLLBACK;
SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'child'::regclass AND attname = 'phone';

\c - :superuser
SET client_min_messages = error;
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_reader', c)) FROM unnest('{phone,person_name,note}'::text[]) c;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_protect CASCADE;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_reader;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_reader;
