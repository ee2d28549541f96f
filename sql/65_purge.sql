-- Retention: old rows go with a ticket, in batches, with a certificate.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_reader LOGIN;
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_ann');
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
SET client_min_messages = warning;
CREATE SCHEMA regress_purge;
CREATE TABLE regress_purge.t (id int PRIMARY KEY, phone courier_pii.phone, made date);
CREATE TABLE regress_purge.old (id int PRIMARY KEY, phone courier_pii.phone, made date);
INSERT INTO regress_purge.t SELECT i, '138' || lpad(i::text, 8, '0'), '2020-06-01' FROM generate_series(1, 2500) i;
INSERT INTO regress_purge.t SELECT i, '138' || lpad(i::text, 8, '0'), current_date FROM generate_series(2501, 2600) i;
GRANT USAGE ON SCHEMA regress_purge TO PUBLIC;
GRANT SELECT ON regress_purge.t, regress_purge.old TO PUBLIC;
-- without a rule, without a ticket
CALL courier_pii.purge('regress_purge.t', '2021-01-01');
SELECT courier_pii.set_retention('regress_purge.t', 'made', '1 year');
\c - regress_courier_pii_ann
SELECT courier_pii.set_retention('regress_purge.t', 'nothing', '1 year');
SELECT courier_pii.set_retention('regress_purge.t', 'id', '1 year');
SELECT courier_pii.set_retention('regress_purge.t', NULL, '1 year');
SELECT courier_pii.set_retention('regress_purge.t', 'made', '1 year', 'regress_purge.old');
\c - regress_courier_pii_owner
CALL courier_pii.purge('regress_purge.t', NULL);
CALL courier_pii.purge('regress_purge.t', now());
CALL courier_pii.purge('regress_purge.t', '2021-01-01');
INSERT INTO regress_purge.old SELECT * FROM regress_purge.t;
CALL courier_pii.purge('regress_purge.t', '2021-01-01');
SELECT courier_pii.request('destroy', 'retention time is over', '{"table": "regress_purge.t"}') AS one \gset
SELECT courier_pii.request('destroy', 'retention time is over', '{"table": "regress_purge.t"}') AS two \gset
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:one), courier_pii.approve(:two);
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :one);
\c - regress_courier_pii_reader
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :one);
\c - regress_courier_pii_owner
-- what it is to come to, worked out from the table itself
SELECT pg_catalog.count(*) AS rows, pg_catalog.mod(pg_catalog.sum(v.n), pg_catalog.power(2::numeric, 256)) AS sum
FROM regress_purge.t x,
	LATERAL (SELECT pg_catalog.sum(pg_catalog.get_byte(d, 31 - i) * pg_catalog.power(256::numeric, i)) AS n
		FROM pg_catalog.sha256(x::text::bytea) d, pg_catalog.generate_series(0, 31) i) v
WHERE x.made < '2021-01-01' \gset
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :one);
SELECT count(*) FROM regress_purge.t;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :one);
-- inside a transaction it is one with it
BEGIN;
INSERT INTO regress_purge.t SELECT * FROM regress_purge.old WHERE id <= 1500;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :two);
SELECT count(*) FROM regress_purge.t;
ROLLBACK;
SELECT count(*) FROM regress_purge.t;
\c - regress_courier_pii_ann
SELECT tbl, time_column, before::date, rows, complete, ticket = :one AS ticket, requester, approvers, person, archive,
	rows = :rows AND (SELECT pg_catalog.sum(pg_catalog.get_byte(d, 31 - i) * pg_catalog.power(256::numeric, i))
		FROM pg_catalog.decode(c.digest, 'hex') d, pg_catalog.generate_series(0, 31) i) = :sum AS digest_is_right
FROM courier_pii.destruction_certificates c;
SELECT tbl, time_column, keep, archive FROM courier_pii.retention_rules;
SELECT state, outcome FROM courier_pii.requests WHERE id IN (:one, :two) ORDER BY id;

-- the ticket is for the table: what its triggers, foreign keys and rules delete elsewhere counts as ever
\c - regress_courier_pii_owner
SET client_min_messages = warning;
CREATE TABLE regress_purge.other (id int PRIMARY KEY, phone courier_pii.phone);
INSERT INTO regress_purge.other SELECT i, '139' || lpad(i::text, 8, '0') FROM generate_series(1, 1100) i;
CREATE TABLE regress_purge.part (id int PRIMARY KEY REFERENCES regress_purge.t ON DELETE CASCADE, phone courier_pii.phone);
CREATE FUNCTION regress_purge.take_other() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM regress_purge.other;
	RETURN OLD;
END $$;
CREATE FUNCTION regress_purge.take_young() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM regress_purge.t WHERE id > 5000;
	RETURN OLD;
END $$;
CREATE TRIGGER take BEFORE DELETE ON regress_purge.t FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION regress_purge.take_other();
INSERT INTO regress_purge.t SELECT id, phone, made FROM regress_purge.old WHERE id <= 1500;
INSERT INTO regress_purge.t SELECT i, '137' || lpad(i::text, 8, '0'), current_date FROM generate_series(5001, 6100) i;
INSERT INTO regress_purge.part SELECT id, phone FROM regress_purge.t WHERE id <= 1500;
SELECT courier_pii.request('destroy', 'retention time is over', '{"table": "regress_purge.t"}') AS three \gset
SELECT courier_pii.request('destroy', 'retention time is over', '{"tables": ["regress_purge.t", "regress_purge.part"], "max_rows": 2800}') AS four \gset
SELECT courier_pii.request('destroy', 'retention time is over', '{"tables": ["regress_purge.t", "regress_purge.part"], "max_rows": 3000}') AS five \gset
SELECT courier_pii.request('destroy', 'retention time is over', '{"tables": ["regress_purge.t", "regress_purge.part"]}') AS six \gset
SELECT courier_pii.request('destroy', 'retention time is over', '{"table": "regress_purge.t"}') AS seven \gset
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:three), courier_pii.approve(:four), courier_pii.approve(:five), courier_pii.approve(:six), courier_pii.approve(:seven);
\c - regress_courier_pii_owner
\set VERBOSITY default
\set SHOW_CONTEXT never
-- a trigger's rows
BEGIN;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :six);
ROLLBACK;
DROP TRIGGER take ON regress_purge.t;
-- a key's rows, which the ticket does not name
BEGIN;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :three);
ROLLBACK;
-- the purged table's own rows, by a trigger: more than the ticket allows, all together
CREATE TRIGGER take BEFORE DELETE ON regress_purge.t FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION regress_purge.take_young();
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :four);
DROP TRIGGER take ON regress_purge.t;
-- a rule that makes it another table's DELETE
BEGIN;
ALTER TABLE regress_purge.other ADD COLUMN made date;
CREATE RULE take AS ON DELETE TO regress_purge.t DO INSTEAD DELETE FROM regress_purge.other RETURNING other.id, other.phone, other.made;
INSERT INTO regress_purge.other SELECT i, '139' || lpad(i::text, 8, '0') FROM generate_series(1101, 1200) i;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :seven);
ROLLBACK;
\set VERBOSITY terse
SELECT (SELECT count(*) FROM regress_purge.t) AS t, (SELECT count(*) FROM regress_purge.part) AS part, (SELECT count(*) FROM regress_purge.other) AS other;
-- up to the limit they go with the purge; beyond it the ticket has to name their table
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :five);
SELECT (SELECT count(*) FROM regress_purge.t) AS t, (SELECT count(*) FROM regress_purge.part) AS part, (SELECT count(*) FROM regress_purge.other) AS other;

-- operators of the caller's search_path have no say in what is old or archived
\set VERBOSITY default
INSERT INTO regress_purge.t VALUES (7001, '13700000001', '2020-06-01');
SELECT courier_pii.request('destroy', 'retention time is over', '{"table": "regress_purge.t"}') AS eight \gset
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:eight);
\c - regress_courier_pii_owner
SET client_min_messages = warning;
CREATE FUNCTION regress_purge.yes(date, timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION regress_purge.yes(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR regress_purge.< (LEFTARG = date, RIGHTARG = timestamptz, FUNCTION = regress_purge.yes);
CREATE OPERATOR regress_purge.= (LEFTARG = int, RIGHTARG = int, FUNCTION = regress_purge.yes);
SET search_path = regress_purge, pg_catalog;
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :eight);
INSERT INTO regress_purge.old VALUES (7001, '13700000001', '2020-06-01');
CALL courier_pii.purge('regress_purge.t', '2021-01-01', :eight);
RESET search_path;
SELECT count(*), min(made) = current_date AS young FROM regress_purge.t;
\set VERBOSITY terse
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
\i :empty
DROP SCHEMA regress_purge CASCADE;
REVOKE CREATE ON DATABASE contrib_regression FROM regress_courier_pii_owner;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_reader;
