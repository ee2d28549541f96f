-- ---------------------------------------------------------------------------
-- 65_posture.sql: what is weak about this server, and what to do
-- ---------------------------------------------------------------------------

-- Security releases of PostgreSQL: for each major version the last minor version
-- that closed known holes, its day, and the day on which the last fixes come.
-- Source: https://www.postgresql.org/support/security/ and .../support/versioning/
-- and the change logs of the distributions, as of 2026-11-22.  Whoever runs an
-- older extension enters later releases with set_safe_minor_version().
CREATE FUNCTION courier_pii.known_minor_versions(OUT major integer, OUT minor integer,
		OUT released date, OUT supported_until date)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 4
	SET search_path = pg_catalog, pg_temp
	AS $$ VALUES
		(15, 20, DATE '2026-11-12', DATE '2027-11-11'),
		(16, 16, DATE '2026-11-12', DATE '2028-11-09'),
		(17, 12, DATE '2026-11-12', DATE '2029-11-08'),
		(18, 7, DATE '2026-11-12', DATE '2030-11-14') $$;

CREATE TABLE courier_pii.minor_version_register (
	major		integer PRIMARY KEY CHECK (major BETWEEN 15 AND 999),
	minor		integer NOT NULL CHECK (minor BETWEEN 0 AND 999),
	released	date NOT NULL,
	set_by		text NOT NULL,
	set_at		timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('courier_pii.minor_version_register', '');

-- Timelines that the server was seen on, the first one when the extension was
-- made: each further one is a restore or a promotion.
CREATE TABLE courier_pii.timeline_register (
	timeline	integer PRIMARY KEY,
	noted_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
-- a name of a WAL file begins with the timeline
INSERT INTO courier_pii.timeline_register (timeline)
	SELECT ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))
		::pg_catalog.bit(32)::pg_catalog.int4;

-- the higher one of both
CREATE FUNCTION courier_pii.safe_minor_versions(OUT major integer, OUT minor integer,
		OUT released date, OUT supported_until date)
	RETURNS SETOF record
	LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 4
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT coalesce(k.major, r.major), greatest(k.minor, r.minor),
		CASE WHEN r.minor > k.minor OR k.minor IS NULL THEN r.released ELSE k.released END, k.supported_until
	FROM courier_pii.known_minor_versions() k
	FULL JOIN courier_pii.minor_version_register r ON r.major = k.major
	$$;

CREATE FUNCTION courier_pii.set_safe_minor_version(major integer, minor integer, released date) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_safe_minor_version';

-- What is to be said of a version on a day.  Minor releases are planned for the
-- second Thursday of February, May, August and November; when one has passed
-- since the list was made, the list says so.  A version that is newer than the
-- list is fine.
CREATE FUNCTION courier_pii.version_findings(version_num integer, day date,
		OUT severity text, OUT finding text, OUT remedy text)
	RETURNS SETOF record
	LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT 'high', 'has known security holes',
		'install minor version ' || v.major || '.' || v.minor || ' or later'
	FROM courier_pii.safe_minor_versions() v
	WHERE v.major = version_num / 10000 AND v.minor > version_num % 10000
	UNION ALL
	SELECT 'high', 'gets no more fixes since ' || v.supported_until, 'move to a later major version'
	FROM courier_pii.safe_minor_versions() v
	WHERE v.major = version_num / 10000 AND day > v.supported_until
	UNION ALL
	SELECT 'low', 'security releases after ' || v.released || ' are not known here',
		'look at https://www.postgresql.org/support/security/ and call courier_pii.set_safe_minor_version()'
	FROM courier_pii.safe_minor_versions() v
	WHERE v.major = version_num / 10000 AND v.minor = version_num % 10000
	AND EXISTS (SELECT FROM generate_series(date_trunc('month', v.released), v.released + interval '4 months', interval '1 month') m (first)
		WHERE extract(month FROM m.first) IN (2, 5, 8, 11)
		AND m.first::date + (11 - extract(isodow FROM m.first)::integer) % 7 + 7 BETWEEN v.released + 1 AND day - 7)
	$$;

CREATE FUNCTION courier_pii.weak_password(role oid) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_weak_password';

-- Where code of others runs with a superuser's rights: whatever writes a protected
-- table that a superuser owns, or that a superuser's masked view writes, calls what
-- is on the table with the rights of that owner.
CREATE FUNCTION courier_pii.code_findings(OUT severity text, OUT object text, OUT finding text, OUT remedy text)
	RETURNS SETOF record
	LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 5
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH RECURSIVE protected (tbl) AS (
		SELECT DISTINCT a.attrelid
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
		JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attnum > 0 AND NOT a.attisdropped AND 'courier_pii.sealed'::regtype IN (t.oid, t.typbasetype)
	),
	-- masked views of superusers, and all that a write through them reaches
	written (tbl, view) AS (
		SELECT DISTINCT coalesce(x.relid, m.tbl)::oid, m.view::oid
		FROM courier_pii.masked_view_register m JOIN pg_class v ON v.oid = m.view
		JOIN pg_roles r ON r.oid = v.relowner AND r.rolsuper
		LEFT JOIN LATERAL pg_partition_tree(m.tbl) x ON true
	),
	reached (tbl) AS (
		SELECT p.tbl FROM protected p JOIN pg_class c ON c.oid = p.tbl JOIN pg_roles r ON r.oid = c.relowner AND r.rolsuper
		UNION
		SELECT w.tbl FROM written w
	),
	-- types of their columns, and those that these are made of
	used (tbl, type) AS (
		SELECT r.tbl, a.atttypid FROM reached r JOIN pg_attribute a ON a.attrelid = r.tbl AND a.attnum > 0 AND NOT a.attisdropped
		UNION
		SELECT u.tbl, x.type
		FROM used u JOIN pg_type t ON t.oid = u.type
		CROSS JOIN LATERAL (
			SELECT t.typbasetype UNION ALL SELECT t.typelem
			UNION ALL SELECT a.atttypid FROM pg_attribute a
			WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped) x (type)
		WHERE x.type <> 0
	),
	-- what calls something: the table itself is here for its partition key
	parts (tbl, class, part) AS (
		SELECT r.tbl, 'pg_class'::regclass, r.tbl FROM reached r
		UNION ALL SELECT r.tbl, 'pg_trigger'::regclass, t.oid FROM reached r JOIN pg_trigger t ON t.tgrelid = r.tbl
		UNION ALL SELECT r.tbl, 'pg_rewrite'::regclass, w.oid FROM reached r JOIN pg_rewrite w ON w.ev_class = r.tbl
		UNION ALL SELECT r.tbl, 'pg_constraint'::regclass, k.oid FROM reached r JOIN pg_constraint k ON k.conrelid = r.tbl
		UNION ALL SELECT r.tbl, 'pg_attrdef'::regclass, d.oid FROM reached r JOIN pg_attrdef d ON d.adrelid = r.tbl
		UNION ALL SELECT r.tbl, 'pg_class'::regclass, i.indexrelid FROM reached r JOIN pg_index i ON i.indrelid = r.tbl
		UNION ALL SELECT r.tbl, 'pg_statistic_ext'::regclass, s.oid FROM reached r JOIN pg_statistic_ext s ON s.stxrelid = r.tbl
		UNION ALL SELECT r.tbl, 'pg_policy'::regclass, p.oid FROM reached r JOIN pg_policy p ON p.polrelid = r.tbl
		UNION ALL SELECT u.tbl, 'pg_type'::regclass, u.type FROM used u
		UNION ALL SELECT u.tbl, 'pg_constraint'::regclass, k.oid FROM used u JOIN pg_constraint k ON k.contypid = u.type
	),
	called (tbl, code) AS (
		SELECT p.tbl, CASE d.refclassid WHEN 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
		FROM parts p JOIN pg_depend d ON d.classid = p.class AND d.objid = p.part
		LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
		WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
	)
	SELECT 'high', c.tbl::regclass::text,
		'writing it calls code of ' || r.rolname || ' with a superuser''s rights: '
		|| string_agg(DISTINCT c.code::regprocedure::text, ', ' ORDER BY c.code::regprocedure::text),
		'give the table and its masked view to a role without SUPERUSER, or the code to the owner of the table'
	FROM called c JOIN pg_proc f ON f.oid = c.code AND NOT f.prosecdef JOIN pg_roles r ON r.oid = f.proowner AND NOT r.rolsuper
	GROUP BY c.tbl, r.rolname
	UNION ALL
	SELECT 'high', w.view::regclass::text,
		'writes ' || w.tbl::regclass || ' with a superuser''s rights, to which ' || r.rolname || ' may add code',
		'give the view to the owner of the table'
	FROM written w JOIN pg_class c ON c.oid = w.tbl JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper
	$$;

CREATE FUNCTION courier_pii.posture_rows(OUT "check" text, OUT severity text,
		OUT object text, OUT finding text, OUT remedy text)
	RETURNS SETOF record
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE ROWS 50
	SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
	-- pg_hba.conf
	SELECT 'authentication', CASE h.auth_method WHEN 'trust' THEN 'critical' ELSE 'high' END,
		'pg_hba.conf line ' || h.line_number,
		'method ' || h.auth_method || ' for ' || coalesce(array_to_string(h.user_name, ','), '')
		|| ' from ' || coalesce(h.address, h.type),
		'use scram-sha-256, or a certificate'
	FROM pg_hba_file_rules h WHERE h.auth_method IN ('trust', 'password', 'md5', 'ident')
	UNION ALL
	SELECT 'authentication', 'high', 'pg_hba.conf line ' || h.line_number,
		'connections without TLS are let in from ' || coalesce(h.address, ''), 'use hostssl'
	FROM pg_hba_file_rules h WHERE h.type IN ('host', 'hostnossl') AND h.auth_method <> 'reject'
	AND coalesce(h.address, '') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost')
	UNION ALL
	SELECT 'authentication', 'high', 'pg_hba.conf line ' || h.line_number, 'the line is wrong: ' || h.error, 'correct it'
	FROM pg_hba_file_rules h WHERE h.error IS NOT NULL
	-- keys: each reason once, with the epochs that it is about
	UNION ALL
	SELECT 'keys', CASE WHEN k.state = 'missing' THEN 'critical' ELSE 'high' END,
		string_agg(k.class || ' ' || k.epoch, ', ' ORDER BY k.class, k.epoch), k.key_check,
		CASE WHEN k.state = 'missing' THEN 'restore the key store from its backup' ELSE 'see the server log and view key_status' END
	FROM courier_pii.key_status() k
	WHERE k.state IN ('missing', 'damaged', 'sealed')
	GROUP BY k.state, k.key_check
	-- settings of the server
	UNION ALL
	SELECT 'setting', w.severity, s.name, w.finding, w.remedy
	FROM (VALUES
		('ssl', 'off', 'high', 'connections are not encrypted', 'set ssl = on and give it a certificate'),
		('password_encryption', 'md5', 'high', 'new passwords are stored as MD5', 'set it to scram-sha-256'),
		('log_statement', 'all', 'medium', 'statements are logged with their literals', 'set it to ddl or none'),
		('log_statement', 'mod', 'medium', 'statements are logged with their literals', 'set it to ddl or none'),
		('log_min_duration_statement', '0', 'medium', 'statements are logged with their literals', 'set it to -1 or log parameters apart'),
		('log_parameter_max_length', '-1', 'low', 'logged statements carry their parameters', 'set it to 0'),
		('log_parameter_max_length_on_error', '-1', 'medium', 'errors carry parameters', 'set it to 0'),
		('allow_system_table_mods', 'on', 'critical', 'catalogs can be changed', 'set it to off'),
		('session_replication_role', 'replica', 'critical', 'triggers do not fire', 'set it to origin'),
		('zero_damaged_pages', 'on', 'high', 'damage is hidden', 'set it to off'),
		('fsync', 'off', 'high', 'records are lost in a crash', 'set it to on'),
		('courier_pii.enforcement', 'warn', 'critical', 'refusals are warnings only', 'set it to on'),
		('courier_pii.audit_on_failure', 'allow', 'high', 'data are shown without a record when the spool fails', 'set it to deny'),
		('courier_pii.audit_sync', 'off', 'medium', 'records can be lost in a power failure', 'set it to bulk'),
		('courier_pii.unregistered_login', 'allow', 'medium', 'roles that nobody answers for may log in', 'set it to reject'),
		('courier_pii.sealed_export', 'record', 'low', 'sealed rows may be exported without a ticket', 'set it to ticket'),
		('courier_pii.password_prehashed', 'allow', 'medium', 'hashed passwords pass unjudged', 'set it to reject')
	) w (name, value, severity, finding, remedy)
	JOIN pg_settings s ON s.name = w.name AND s.setting = w.value
	UNION ALL
	SELECT 'setting', 'high', s.name, 'another library is loaded into every session: ' || s.setting, 'remove what is not needed'
	FROM pg_settings s WHERE s.name IN ('session_preload_libraries', 'local_preload_libraries') AND s.setting <> ''
	UNION ALL
	SELECT 'setting', 'medium', s.name, 'prepared transactions outlive sessions', 'set it to 0 unless it is needed'
	FROM pg_settings s WHERE s.name = 'max_prepared_transactions' AND s.setting <> '0'
	UNION ALL
	SELECT 'setting', 'high', coalesce(r.rolname, 'database ' || d.datname, 'all roles'), 'sets ' || c.setting,
		'take it away with ALTER ROLE or ALTER DATABASE ... RESET'
	FROM pg_db_role_setting x CROSS JOIN LATERAL unnest(x.setconfig) c (setting)
	LEFT JOIN pg_roles r ON r.oid = x.setrole LEFT JOIN pg_database d ON d.oid = x.setdatabase
	WHERE c.setting ~ '^(courier_pii\.|session_replication_role|allow_system_table_mods|session_preload|local_preload|row_security|role=)'
	-- roles
	UNION ALL
	SELECT 'role', CASE WHEN r.rolsuper THEN 'high' ELSE 'medium' END, r.rolname,
		'may log in with ' || concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
			CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
			CASE WHEN r.rolreplication THEN 'REPLICATION' END),
		'take away what is not needed; keep the first superuser NOLOGIN'
	FROM pg_authid r WHERE r.rolcanlogin AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication)
	UNION ALL
	SELECT 'role', CASE WHEN r.rolsuper THEN 'high' ELSE 'medium' END, m.rolname,
		'may become ' || r.rolname || ', which has ' || CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'BYPASSRLS' END,
		'revoke the membership'
	FROM (SELECT DISTINCT roleid, member FROM pg_auth_members) x JOIN pg_authid r ON r.oid = x.roleid JOIN pg_authid m ON m.oid = x.member
	WHERE (r.rolsuper OR r.rolbypassrls) AND NOT m.rolsuper
	UNION ALL
	SELECT 'role', 'medium', r.rolname, 'login that nobody of the staff register answers for',
		'enter it with courier_pii.add_account(), or take LOGIN away'
	FROM pg_authid r WHERE r.rolcanlogin
	AND NOT EXISTS (SELECT FROM courier_pii.account_register a WHERE a.login_role::oid = r.oid)
	AND NOT EXISTS (SELECT FROM courier_pii.sealed_account s WHERE s.login_role::oid = r.oid)
	AND NOT EXISTS (SELECT FROM courier_pii.joint_account j WHERE j.login_role::oid = r.oid)
	UNION ALL
	SELECT 'password', 'high', r.rolname, 'stored as MD5', 'have it changed with password_encryption = scram-sha-256'
	FROM pg_authid r WHERE r.rolcanlogin AND r.rolpassword LIKE 'md5%'
	UNION ALL
	SELECT 'password', 'critical', r.rolname, 'is the name of the role, or a usual one', 'change it now'
	FROM pg_authid r WHERE r.rolcanlogin AND r.rolpassword IS NOT NULL
	AND courier_pii.weak_password(r.oid)
	UNION ALL
	SELECT 'password', 'low', r.rolname, 'has no password', 'set one unless another method is used'
	FROM pg_authid r WHERE r.rolcanlogin AND r.rolpassword IS NULL
	UNION ALL
	SELECT 'grant', CASE g.rolname WHEN 'pg_monitor' THEN 'medium' ELSE 'high' END, m.rolname,
		'is a member of ' || g.rolname, 'revoke it'
	FROM (SELECT DISTINCT roleid, member FROM pg_auth_members) x JOIN pg_roles g ON g.oid = x.roleid JOIN pg_roles m ON m.oid = x.member
	WHERE g.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files',
		'pg_read_all_data', 'pg_write_all_data', 'pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_signal_backend')
	AND m.rolname NOT LIKE 'pg\_%'
	-- searches by sealing guesses; superusers and members of pg_read_all_data have lines of their own
	UNION ALL
	SELECT 'grant', 'medium', r.rolname,
		'reads sealed values past the masked views, in ' || min(b.oid::regclass::text)
		|| CASE WHEN count(*) > 1 THEN ' and ' || count(*) - 1 || ' more' ELSE '' END
		|| CASE WHEN courier_pii.duties_sealed() THEN ': what it writes to searchable columns counts as probes'
			ELSE ': once the duties are sealed, what it writes to searchable columns counts as probes' END,
		'let it use the masked views only; let a role without login own the tables'
	FROM pg_roles r CROSS JOIN LATERAL (
		SELECT c.oid FROM pg_class c
		WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND NOT c.relispartition
		AND EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
			WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND (t.oid = 'courier_pii.sealed'::regtype OR t.typbasetype = 'courier_pii.sealed'::regtype)
			AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT'))) b
	WHERE r.rolcanlogin AND NOT r.rolsuper AND NOT pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER')
	GROUP BY r.rolname
	UNION ALL
	SELECT 'grant', 'high', coalesce(g.rolname, 'PUBLIC'), 'may execute ' || p.oid::regprocedure, 'revoke it'
	FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a LEFT JOIN pg_authid g ON g.oid = a.grantee
	WHERE p.pronamespace = 'pg_catalog'::regnamespace
	AND p.proname IN ('pg_read_file', 'pg_read_binary_file', 'lo_import', 'lo_export', 'pg_ls_dir',
		'pg_stat_file', 'pg_file_write', 'pg_rotate_logfile', 'pg_create_restore_point')
	AND NOT coalesce(g.rolsuper, false) AND coalesce(g.rolname, '') NOT LIKE 'pg\_%'
	UNION ALL
	SELECT 'grant', 'high', coalesce(g.rolname, 'PUBLIC'), 'may ' || a.privilege_type || ' ' || p.parname, 'revoke it'
	FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a LEFT JOIN pg_authid g ON g.oid = a.grantee
	WHERE NOT coalesce(g.rolsuper, false)
	UNION ALL
	SELECT 'language', 'high', l.lanname, 'untrusted language is installed', 'drop it'
	FROM pg_language l WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
	-- the extension
	UNION ALL
	SELECT 'duty', 'high', d.name, 'nobody of the staff register holds it', 'call courier_pii.appoint()'
	FROM unnest(ARRAY['pii_security_admin', 'pii_auditor', 'pii_account_admin']) d (name)
	WHERE NOT EXISTS (SELECT FROM courier_pii.duty_holders h WHERE h.duty = d.name AND h.staff_no IS NOT NULL)
	UNION ALL
	SELECT 'duty', 'high', 'set-up', 'the duties are not sealed', 'call courier_pii.seal_duties() when set-up is over'
	WHERE NOT courier_pii.duties_sealed()
	UNION ALL
	SELECT 'duty', 'critical', 'duty_seal', 'the seal of the duties was removed outside of the library', 'find out who had access to the server''s files; restore the register from a backup'
	WHERE courier_pii.duty_seal_removed()
	UNION ALL
	SELECT 'limit', 'medium', l.grantee::text, 'a limit is not set (NULL = unlimited)', 'call courier_pii.set_limit()'
	FROM courier_pii.limits l WHERE l.per_statement IS NULL OR l.per_hour IS NULL OR l.per_day IS NULL
	UNION ALL
	SELECT 'envelope', h.severity, h.object, h.finding, h.remedy
	FROM courier_pii.held_account_posture() h
	UNION ALL
	SELECT 'leaver', 'critical', x.transaction_gid::text, 'prepared transaction of ' || x.owner_name || ', whose account is disabled',
		'look at it and ROLLBACK PREPARED in database ' || x.database
	FROM (SELECT p.gid AS transaction_gid, p.owner::text AS owner_name, p.database::text AS database
		FROM pg_prepared_xacts p JOIN courier_pii.account_register a ON a.login_role::oid = to_regrole(quote_ident(p.owner))::oid
		JOIN courier_pii.staff_register s ON s.staff_no = a.staff_no WHERE s.status <> 'active') x
	UNION ALL
	SELECT 'feed', 'high', 'personnel feed ' || h.id || ' of ' || h.source, 'waits: ' || h.held_because,
		'apply what is missing, or put this one aside with courier_pii.reject_hr_feed()'
	FROM courier_pii.hr_feed h WHERE h.state = 'waiting' AND h.asked_at < now() - interval '1 hour'
	UNION ALL
	SELECT 'restore', 'high', 'timeline ' || w.timeline,
		'restored or promoted on ' || w.noted_at::date || ': departures since may be missing',
		'compare with a complete list of the staff: courier_pii.apply_hr_feed(..., true)'
	FROM courier_pii.timeline_register w
	WHERE NOT EXISTS (SELECT FROM courier_pii.hr_feed h WHERE h.state = 'applied' AND h.full_list
		AND coalesce(h.decided_at, h.asked_at) > w.noted_at)
	AND w.timeline > (SELECT min(t.timeline) FROM courier_pii.timeline_register t)
	AND w.timeline = (SELECT max(t.timeline) FROM courier_pii.timeline_register t)
	UNION ALL
	SELECT 'code', x.severity, x.object, x.finding, x.remedy
	FROM courier_pii.code_findings() x
	-- the version
	UNION ALL
	SELECT 'version', v.severity, 'PostgreSQL ' || current_setting('server_version'), v.finding, v.remedy
	FROM courier_pii.version_findings(current_setting('server_version_num')::integer, current_date) v
	$$;

CREATE VIEW courier_pii.posture AS
	SELECT p."check", p.severity, p.object, p.finding, p.remedy
	FROM courier_pii.posture_rows() p
	ORDER BY pg_catalog.array_position(ARRAY['critical', 'high', 'medium', 'low'], p.severity),
		p."check", p.object, p.finding;

REVOKE ALL ON FUNCTION courier_pii.known_minor_versions() FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.safe_minor_versions() FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.set_safe_minor_version(integer, integer, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.version_findings(integer, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.set_safe_minor_version(integer, integer, date) TO pii_security_admin;
REVOKE ALL ON FUNCTION courier_pii.code_findings() FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.posture_rows() FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.weak_password(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.posture_rows() TO pii_security_admin, pii_auditor;
GRANT SELECT ON courier_pii.posture TO pii_security_admin, pii_auditor;

COMMENT ON FUNCTION courier_pii.known_minor_versions() IS 'last security release of each major version when this extension was made';
COMMENT ON TABLE courier_pii.minor_version_register IS 'later security releases; changed through set_safe_minor_version only';
COMMENT ON TABLE courier_pii.timeline_register IS 'timelines that the server was seen on; written by the worker';
COMMENT ON FUNCTION courier_pii.safe_minor_versions() IS 'first minor version of each major version without known security holes';
COMMENT ON FUNCTION courier_pii.set_safe_minor_version(integer, integer, date) IS 'enter a security release that came after this extension';
COMMENT ON FUNCTION courier_pii.version_findings(integer, date) IS 'what is to be said of a version of the server on a day';
COMMENT ON FUNCTION courier_pii.code_findings() IS 'code of others that writes of protected tables call with a superuser''s rights';
COMMENT ON FUNCTION courier_pii.posture_rows() IS 'the rows of view courier_pii.posture';
COMMENT ON FUNCTION courier_pii.weak_password(oid) IS 'is a role''s password its name or a usual one?';
COMMENT ON VIEW courier_pii.posture IS 'what is weak about this server, the worst first, and what to do';
