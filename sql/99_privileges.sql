--
-- Who may call, read and change what.  Nothing here is about data: the lists
-- are the whole surface of the extension, so a new object shows up as a
-- difference.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS courier_pii CASCADE;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_nobody LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_auditor');

-- members of the extension without a comment: none
SELECT s.object
FROM (
	SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS object
	FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
		JOIN pg_catalog.pg_class c ON c.oid = d.classid
	WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
		AND d.deptype = 'e' AND e.extname = 'courier_pii'
		AND pg_catalog.obj_description(d.objid, c.relname) IS NULL
		-- since 17 the types that come with a relation or a type are members, too
		AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_type t
			WHERE d.classid = 'pg_catalog.pg_type'::regclass AND t.oid = d.objid
				AND (t.typrelid <> 0 OR t.typcategory = 'A'))) s
ORDER BY s.object COLLATE "C";

-- objects of the schema that are no members: none but the monthly partitions
SELECT c.relname
FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
	AND c.relname !~ '^audit_record_[0-9]{4}_[0-9]{2}$'
	AND NOT EXISTS (
		SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname COLLATE "C";

-- functions that everybody may execute
SELECT p.oid::regprocedure::text COLLATE "C" AS function
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'courier_pii'::regnamespace
	AND pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY 1;

-- all others, and the duties that may execute them
SELECT p.oid::regprocedure::text COLLATE "C" AS function,
	(SELECT pg_catalog.string_agg(r.rolname, ', ' ORDER BY r.rolname COLLATE "C")
	 FROM pg_catalog.aclexplode(p.proacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
	 WHERE a.grantee <> p.proowner) AS granted_to
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'courier_pii'::regnamespace
	AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY 1;

-- SECURITY DEFINER functions that leave search_path to the caller: none
SELECT p.oid::regprocedure AS function
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'courier_pii'::regnamespace AND p.prosecdef
	AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false);

-- relations and who may read them; nobody is granted anything but SELECT
SELECT c.relname COLLATE "C" AS relation,
	pg_catalog.string_agg(DISTINCT coalesce(r.rolname, 'PUBLIC') || '=' || a.privilege_type, ', ') AS granted
FROM pg_catalog.pg_class c
	LEFT JOIN LATERAL pg_catalog.aclexplode(c.relacl) a ON a.grantee <> c.relowner
	LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind IN ('r', 'p', 'v')
	AND c.relname !~ '^audit_record_[0-9]{4}_[0-9]{2}$'
GROUP BY c.relname
ORDER BY 1;

-- a superuser changes neither registers nor audit records, by no statement
CREATE TEMP TABLE attempt (relation text COLLATE "C", statement text, sqlstate text);
DO $$
DECLARE
	relation regclass;
	statement text;
	col text;
	state text;
BEGIN
	FOR relation, col IN
		SELECT c.oid, pg_catalog.quote_ident(a.attname)
		FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = 2
		WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind IN ('r', 'p')
	LOOP
		FOREACH statement IN ARRAY ARRAY[
			pg_catalog.format('INSERT INTO %s DEFAULT VALUES', relation),
			pg_catalog.format('UPDATE %s SET %s = %2$s', relation, col),
			pg_catalog.format('DELETE FROM %s', relation),
			pg_catalog.format('MERGE INTO %s x USING (SELECT 1) y ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES', relation),
			pg_catalog.format('TRUNCATE %s CASCADE', relation)]
		LOOP
			BEGIN
				EXECUTE statement;
				state := 'no error';
			EXCEPTION WHEN OTHERS THEN
				state := SQLSTATE;
			END;
			INSERT INTO attempt VALUES (relation, pg_catalog.split_part(statement, ' ', 1), state);
		END LOOP;
	END LOOP;
END
$$;
SELECT relation, pg_catalog.string_agg(DISTINCT sqlstate, ', ') AS sqlstates, pg_catalog.count(*) AS statements
FROM attempt
WHERE relation !~ '_[0-9]{4}_[0-9]{2}$'
GROUP BY relation
ORDER BY relation;
SELECT relation, statement, sqlstate FROM attempt WHERE sqlstate <> '42501';
COPY courier_pii.audit_record FROM '/dev/null';
DROP TABLE courier_pii.audit_record;
DROP TABLE courier_pii.audit_record_default;
ALTER TABLE courier_pii.audit_record DROP COLUMN query;
ALTER TABLE courier_pii.audit_record DETACH PARTITION courier_pii.audit_record_default;
CREATE RULE regress_courier_pii_rule AS ON INSERT TO courier_pii.audit_record DO INSTEAD NOTHING;

-- nor does it read the audit trail
TRUNCATE attempt;
DO $$
DECLARE
	relation regclass;
	state text;
BEGIN
	FOR relation IN
		SELECT c.oid
		FROM pg_catalog.pg_class c
		WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind IN ('r', 'p', 'v')
			AND c.relname LIKE '%audit%'
	LOOP
		BEGIN
			EXECUTE pg_catalog.format('SELECT FROM %s LIMIT 0', relation);
			state := 'no error';
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE;
		END;
		INSERT INTO attempt VALUES (relation, 'SELECT', state);
	END LOOP;
END
$$;
SELECT relation, sqlstate FROM attempt WHERE relation !~ '_[0-9]{4}_[0-9]{2}$' ORDER BY relation;
SELECT pg_catalog.count(*) FROM courier_pii.audit_log;
SET ROLE pii_auditor;
SELECT pg_catalog.count(*) FROM courier_pii.audit_log;
RESET ROLE;

-- somebody without any right is refused every function that is not for all
\c - regress_courier_pii_nobody
DO $$
DECLARE
	function record;
	state text;
	allowed text[] := '{}';
	tried integer := 0;
BEGIN
	FOR function IN
		SELECT p.oid::regprocedure AS name, p.oid,
			(SELECT pg_catalog.string_agg(CASE pg_catalog.format_type(t, NULL)
					WHEN 'regclass' THEN '''pg_class'''
					WHEN 'regclass[]' THEN '''{}'''
					WHEN 'regrole' THEN '''regress_courier_pii_nobody'''
					WHEN 'timestamp with time zone' THEN '''2030-01-01'''
					WHEN 'date' THEN '''2030-01-01'''
					WHEN 'jsonb' THEN '''{}'''
					WHEN 'text[]' THEN '''{}'''
					WHEN 'name[]' THEN '''{}'''
					WHEN 'regrole[]' THEN '''{}'''
					WHEN 'bigint[]' THEN '''{}'''
					WHEN 'integer[]' THEN '''{}'''
					WHEN 'cidr[]' THEN '''{}'''
					WHEN 'time without time zone' THEN '''08:00'''
					ELSE '''1''' END || '::' || pg_catalog.format_type(t, NULL), ', ')
			 FROM pg_catalog.unnest(p.proargtypes) t) AS args
		FROM pg_catalog.pg_proc p
		WHERE p.pronamespace = 'courier_pii'::regnamespace
			AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
	LOOP
		tried := tried + 1;
		BEGIN
			EXECUTE pg_catalog.format('SELECT courier_pii.%s(%s)',
				pg_catalog.split_part(pg_catalog.split_part(function.name::text, '(', 1), '.', 2), function.args);
			state := 'no error';
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE;
		END;
		IF state <> '42501' THEN
			allowed := allowed || pg_catalog.format('%s: %s', function.name, state);
		END IF;
	END LOOP;
	RAISE INFO 'functions tried: %, not refused: %', tried, allowed;
END
$$;
-- nor may it read any register, or give itself a right
SELECT pg_catalog.count(*) FROM courier_pii.disclosure;
SELECT pg_catalog.count(*) FROM courier_pii.staff;
SELECT pg_catalog.count(*) FROM courier_pii.audit_log;
SET ROLE pii_auditor;
SELECT staff_no, login_role, proof FROM courier_pii.actor;

-- an auditor reads every audit view, and no table behind them
\c - regress_courier_pii_auditor
DO $$
DECLARE
	relation regclass;
	state text;
	result text := '';
BEGIN
	FOR relation IN
		SELECT c.oid
		FROM pg_catalog.pg_class c
		WHERE c.relnamespace = 'courier_pii'::regnamespace AND c.relkind IN ('r', 'p', 'v')
			AND c.relname LIKE '%audit%' AND c.relname !~ '_[0-9]{4}_[0-9]{2}$'
		ORDER BY c.relname COLLATE "C"
	LOOP
		BEGIN
			EXECUTE pg_catalog.format('SELECT FROM %s LIMIT 0', relation);
			state := 'read';
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE;
		END;
		result := result || pg_catalog.format(E'\n%s %s', relation, state);
	END LOOP;
	RAISE INFO '%', result;
END
$$;
SELECT pg_catalog.count(*) FROM courier_pii.audit_verify();
SELECT courier_pii.grant_disclosure('regress_courier_pii_auditor', 'phone', 'clear');

\c - :superuser
DROP ROLE regress_courier_pii_nobody;
DROP ROLE regress_courier_pii_auditor;
