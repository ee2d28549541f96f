-- Code of others that a statement of the extension calls has the rights of its owner, never those of the extension's.
\set VERBOSITY terse
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_officer LOGIN;
GRANT pii_security_admin TO regress_courier_pii_officer;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_code;
GRANT USAGE ON SCHEMA regress_code TO PUBLIC;
SET search_path = regress_code;
CREATE FUNCTION mine(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_courier_pii_owner' THEN
		RAISE WARNING '% called with the rights of %', what,
			CASE WHEN current_user LIKE 'regress%' THEN current_user ELSE 'a superuser' END;
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION mine_too(what text) RETURNS boolean STABLE LANGUAGE sql AS
	'SELECT pg_catalog.query_to_xml(''SELECT regress_code.mine(''''an inlined function'''')'', true, true, '''') IS NOT NULL';
CREATE DOMAIN number AS int CHECK (mine('the check of a domain') AND mine_too('x'));
CREATE TYPE place AS (n number);
CREATE TABLE waybill (id int PRIMARY KEY, phone courier_pii.phone, state int, size number,
	place place DEFAULT '(1)', places number[] DEFAULT '{1}');
-- literals in defaults, which are read again for the masked view
SELECT courier_pii.create_masked_view('waybill', 'regress_codeview');
ALTER TABLE waybill ALTER COLUMN place SET DEFAULT '(2)';
SELECT courier_pii.refresh_masked_view('regress_codeview.waybill');
-- literals in views that build on it
CREATE VIEW counter AS SELECT id, '(3)'::place AS place FROM regress_codeview.waybill;
ALTER TABLE waybill ALTER COLUMN state TYPE bigint;
-- what a table that is rewritten, copied and taken over calls
CREATE FUNCTION always(what text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN regress_code.mine(what); END';
CREATE FUNCTION row_of() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_code.mine('a trigger'); RETURN NEW; END $$;
CREATE TABLE parcel (id int PRIMARY KEY, phone text CHECK (mine('a check')), size number DEFAULT 3,
	odd boolean GENERATED ALWAYS AS (always('a generated column')) STORED);
CREATE INDEX ON parcel ((always('an index')));
CREATE INDEX ON parcel (id) WHERE always('a predicate');
CREATE STATISTICS parcel_parts ON id, (always('statistics')) FROM parcel;
CREATE TRIGGER always BEFORE INSERT OR UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION row_of();
ALTER TABLE parcel ENABLE ALWAYS TRIGGER always;
INSERT INTO parcel VALUES (1, '13800000001');
CREATE TABLE parcel_online (LIKE parcel INCLUDING ALL);
INSERT INTO parcel_online VALUES (1, '13800000001');
SELECT courier_pii.protect_column('parcel', 'phone', 'phone');
CALL courier_pii.protect_column_online('parcel_online', 'phone', 'phone');
CALL courier_pii.reseal('parcel', 'phone');
-- a row rule's constant is read when the rule is set, and for the view
\c - regress_courier_pii_officer
SELECT courier_pii.set_row_rule('regress_code.waybill', 'regress_courier_pii_owner', 'state', visible => '{"size = ''4''"}', scope => '{}');
SELECT courier_pii.set_row_rule('regress_code.waybill', 'regress_courier_pii_owner', 'place', visible => '{"place = ''(4)''"}', scope => '{}');
\c - :superuser
SET client_min_messages = error;
CREATE OR REPLACE FUNCTION regress_code.mine(what text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_code, regress_codeview CASCADE;
REVOKE CREATE ON DATABASE contrib_regression FROM regress_courier_pii_owner;
DROP OWNED BY regress_courier_pii_officer;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_officer;
