-- The sealed type: its forms, its classes, and what may never be stored.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_reader LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_reader;
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_reader', class, 'clear', true)) FROM unnest('{person_name,phone,address,id_number,unit_name,waybill_no,item,note,email,account_no}'::text[]) class;
SELECT courier_pii.set_limit('regress_courier_pii_reader', NULL, NULL, NULL);
\c - regress_courier_pii_reader
CREATE SCHEMA regress_type;
SET search_path = regress_type;

-- text form
SELECT left('13800138000'::courier_pii.phone::courier_pii.sealed::pg_catalog.text, 3) AS shown;
CREATE TABLE t (id int PRIMARY KEY, p courier_pii.phone, n courier_pii.person_name, x courier_pii.note);
INSERT INTO t VALUES
	(1, '13800138000', '张三', '放门口'),
	(2, '', '', ''),
	(3, NULL, NULL, NULL),
	(4, '010-8888 6666', '𠮷野家😀', repeat('长', 20000)),
	(5, E'13900139000', $$O'Neil "x" \ y$$, E'two\nlines\ttab');
SELECT id, p::text, n::text, left(x::text, 12) AS x, length(x::text) FROM t ORDER BY id;
SELECT id, p IS NULL AS p_null, x IS NULL AS x_null FROM t ORDER BY id;
SELECT json_agg(t)::text LIKE '%138001%' AS in_json, string_agg(t::text, '') LIKE '%138001%' AS in_row FROM t;
CREATE FUNCTION form(courier_pii.sealed) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RETURN 'pii:1' || rtrim(translate(replace(encode(courier_pii.sealed_send($1), 'base64'), E'\n', ''), '+/', '-_'), '='); END $$;
SELECT id, json_build_array(p)->>0 LIKE 'pii:1%' AS prefix, json_build_array(x)->>0 = form(x) AS same_bytes FROM t ORDER BY id;

-- round trip through text: byte for byte
CREATE TABLE u (LIKE t);
INSERT INTO u SELECT id, form(p)::courier_pii.phone, form(n)::courier_pii.person_name, form(x)::courier_pii.note FROM t;
SELECT bool_and(courier_pii.sealed_send(t.p) IS NOT DISTINCT FROM courier_pii.sealed_send(u.p)
	AND courier_pii.sealed_send(t.x) IS NOT DISTINCT FROM courier_pii.sealed_send(u.x)) AS same
FROM t JOIN u USING (id);
SELECT count(DISTINCT courier_pii.sealed_send(v)) AS never_the_same_twice
FROM (SELECT '138'::text::courier_pii.phone AS v FROM generate_series(1, 5)) s;

-- classes
SELECT '1'::courier_pii.sealed(phone), '1'::courier_pii.sealed(2) \gset
SELECT format_type('courier_pii.sealed'::regtype, 2);
SELECT '1'::courier_pii.sealed(nothing);
SELECT '1'::courier_pii.sealed(0);
SELECT '1'::courier_pii.sealed(1, 2);
UPDATE u SET n = p WHERE id = 1;
INSERT INTO u (id, n) SELECT 10, form(p) FROM t WHERE id = 1;
SELECT p::courier_pii.sealed(1) FROM t WHERE id = 1;

-- no order by clear text, and no pattern
SELECT count(*) FROM t WHERE p < '2';
SELECT count(*) FROM t WHERE p LIKE '138%';
SELECT max(p) FROM t;

-- a damaged form is an error, or at least never clear text
CREATE FUNCTION try(envelope bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v courier_pii.phone;
BEGIN
	v := 'pii:1' || rtrim(translate(replace(encode(envelope, 'base64'), E'\n', ''), '+/', '-_'), '=');
	RETURN CASE WHEN v::text = '13800138000' THEN 'CLEAR' ELSE 'other text' END;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
SELECT try(courier_pii.sealed_send(p)) FROM t WHERE id = 1;
SELECT try(substr(courier_pii.sealed_send(p), 1, i)) AS result, min(i), max(i), count(*)
FROM t, generate_series(0, length(courier_pii.sealed_send(p)) - 1) i WHERE id = 1
GROUP BY 1 ORDER BY 1;
SELECT CASE WHEN byte = 0 THEN 'version and suite' WHEN byte = 1 THEN 'flags' WHEN byte < 4 THEN 'class'
	WHEN byte < 6 THEN 'epoch' WHEN byte < 18 THEN 'search tag' WHEN byte < 22 THEN 'tail tag' WHEN byte < 34 THEN 'nonce'
	ELSE 'ciphertext' END AS field,
	array_agg(DISTINCT try(set_bit(courier_pii.sealed_send(p), i, 1 - get_bit(courier_pii.sealed_send(p), i)))) AS results
FROM t, generate_series(0, 8 * length(courier_pii.sealed_send(p)) - 1) i, LATERAL (SELECT i / 8) b(byte) WHERE id = 1
GROUP BY field, CASE WHEN byte < 6 THEN byte / 2 ELSE 9 END ORDER BY min(byte);
SELECT try(courier_pii.sealed_send(p) || '\x00') FROM t WHERE id = 1;
DO $$
DECLARE good text; v courier_pii.phone; bad int := 0;
BEGIN
	SELECT form(p) INTO good FROM t WHERE id = 1;
	FOR i IN 0 .. length(good) - 1 LOOP
		BEGIN
			v := left(good, i);
			IF v::text = '13800138000' THEN bad := bad + 1; END IF;
		EXCEPTION WHEN invalid_text_representation OR data_corrupted THEN NULL;
		END;
	END LOOP;
	RAISE NOTICE 'clear from a cut text: %', bad;
END $$;
SELECT 'pii:1!!!'::courier_pii.phone;
SELECT 'pii:1'::courier_pii.phone;
SELECT 'pii:1AAAA===='::courier_pii.phone;

-- a column needs a class, in whatever disguise
CREATE TABLE bad (x courier_pii.sealed);
ALTER TABLE t ADD y courier_pii.sealed;
ALTER TABLE t ALTER p TYPE courier_pii.sealed;
CREATE TABLE bad AS SELECT '1'::courier_pii.sealed AS x;
SELECT '1'::courier_pii.sealed AS x INTO bad;
CREATE MATERIALIZED VIEW bad AS SELECT '1'::courier_pii.sealed AS x;
CREATE TEMP TABLE bad (x courier_pii.sealed);
CREATE TABLE bad (x courier_pii.sealed[]);
CREATE DOMAIN classless AS courier_pii.sealed;
CREATE TABLE bad (x classless);
CREATE TABLE bad (x classless[]);
CREATE TYPE pair AS (a int, b courier_pii.sealed);
CREATE TYPE good_pair AS (a int, b courier_pii.phone);
CREATE TABLE good (x good_pair, y courier_pii.phone[]);
ALTER TYPE good_pair ADD ATTRIBUTE c courier_pii.sealed;
CREATE VIEW shape AS SELECT '1'::courier_pii.sealed AS x;
CREATE TABLE bad (x shape);
DROP TABLE good;

-- a masked text is refused
INSERT INTO t (id, p) VALUES (20, '138****8000');
INSERT INTO t (id, n) VALUES (20, '张＊');
UPDATE t SET p = '***' WHERE id = 1;
INSERT INTO t (id, x) VALUES (20, '***');
INSERT INTO t (id, x) VALUES (20, '2*3 boxes');
SELECT x::text FROM t WHERE id = 20;

-- no query token in a table: the class is in every stored value
CREATE TABLE k (way text, v courier_pii.phone DEFAULT '13700137000');
CREATE FUNCTION literal() RETURNS courier_pii.sealed LANGUAGE sql STABLE AS $$ SELECT '13600136000'::courier_pii.sealed $$;
INSERT INTO k (way) VALUES ('default');
INSERT INTO k VALUES ('values', '13600136000'), ('values, two rows', '13600136000');
INSERT INTO k SELECT 'insert select', '13600136000';
INSERT INTO k SELECT 'subquery', v FROM (SELECT '13600136000'::courier_pii.sealed AS v) s;
INSERT INTO k SELECT 'union', '13600136000' UNION SELECT 'union', '13600136001';
INSERT INTO k SELECT 'case', CASE WHEN id = 1 THEN '13600136000' ELSE p END FROM t WHERE id IN (1, 5);
INSERT INTO k SELECT 'coalesce', COALESCE(p, '13600136000') FROM t WHERE id IN (1, 3);
INSERT INTO k VALUES ('function', literal());
INSERT INTO k SELECT 'array', (ARRAY['13600136000', '1']::courier_pii.phone[])[1];
INSERT INTO k SELECT 'sealed array', (ARRAY['13600136000', '1']::courier_pii.sealed[])[1];
INSERT INTO k SELECT 'json', v FROM json_populate_record(NULL::k, '{"v": "13600136000"}');
INSERT INTO k SELECT 'row', (('x', '13600136000')::k).v;
INSERT INTO k SELECT 'record text', ('(x,13600136000)'::k).v;
INSERT INTO k VALUES ('update', '1');
UPDATE k SET v = '13600136000' WHERE way = 'update';
INSERT INTO k VALUES ('update default', '1');
UPDATE k SET v = DEFAULT WHERE way = 'update default';
PREPARE ins(courier_pii.sealed) AS INSERT INTO k VALUES ('parameter', $1);
EXECUTE ins('13600136000');
PREPARE ins_text(text) AS INSERT INTO k VALUES ('text parameter', $1);
EXECUTE ins_text('13600136000');
DO $$
DECLARE
	a courier_pii.sealed := '13600136000';
	b courier_pii.phone := '13600136000';
	c k;
	d varchar := '13600136000';
	e char(20) := '13600136000';
BEGIN
	c.v := '13600136000';
	INSERT INTO k VALUES ('plpgsql sealed', a), ('plpgsql phone', b), ('plpgsql row', c.v), ('varchar', d), ('char', e);
END $$;
COPY k FROM stdin;
copy	13600136000
\.
INSERT INTO k SELECT 'ctas', v FROM (SELECT 1) s, LATERAL (SELECT '13600136000'::courier_pii.phone) x(v);
CREATE TABLE k2 AS SELECT way, v FROM k;
CREATE TABLE arrays (v courier_pii.phone[], r good_pair);
INSERT INTO arrays VALUES ('{13600136000,1}', '(1,13600136000)'), (ARRAY['13600136000', '1'], ROW(1, '13600136000'));
INSERT INTO arrays VALUES ('{}', NULL);
UPDATE arrays SET v[2] = '13600136000', r.b = '13600136000' WHERE v = '{}';
SELECT way, get_byte(courier_pii.sealed_send(v), 3) AS class, v::text FROM k ORDER BY way COLLATE "C", v::text;
SELECT DISTINCT get_byte(courier_pii.sealed_send(v), 3) AS class FROM k2;
SELECT DISTINCT get_byte(courier_pii.sealed_send(e), 3) AS class, get_byte(courier_pii.sealed_send((r).b), 3) AS class2
FROM arrays, unnest(v) e WHERE e IS NOT NULL;

-- binary COPY keeps the bytes
\c - :superuser
SELECT current_setting('data_directory') || '/regress_type.bin' AS file \gset
COPY regress_type.t TO :'file' (FORMAT binary);
DELETE FROM regress_type.u;
COPY regress_type.u FROM :'file' (FORMAT binary);
SELECT bool_and(courier_pii.sealed_send(t.p) IS NOT DISTINCT FROM courier_pii.sealed_send(u.p)
	AND courier_pii.sealed_send(t.n) IS NOT DISTINCT FROM courier_pii.sealed_send(u.n)
	AND courier_pii.sealed_send(t.x) IS NOT DISTINCT FROM courier_pii.sealed_send(u.x)) AS same, count(*)
FROM regress_type.t JOIN regress_type.u USING (id);
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_type CASCADE;
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_reader', class)) FROM unnest('{person_name,phone,address,id_number,unit_name,waybill_no,item,note,email,account_no}'::text[]) class;
DROP OWNED BY regress_courier_pii_reader;
DROP ROLE regress_courier_pii_reader;
