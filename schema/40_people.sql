-- ---------------------------------------------------------------------------
-- 40_people.sql: registers of organisation units and staff, who is acting
-- ---------------------------------------------------------------------------

-- parent names another code of this table; units are only added, and add_org()
-- checks it.  A foreign key to itself would make every pg_dump warn.
CREATE TABLE courier_pii.org_register (
	code		text PRIMARY KEY CHECK (code <> ''),
	name		text NOT NULL,
	kind		text NOT NULL,
	parent		text,
	added_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp()
);

CREATE INDEX org_register_parent ON courier_pii.org_register (parent);

-- login_role is the role's OID and is dumped by name.  org is a code of
-- org_register; hire() and transfer() check it.  A foreign key's check would
-- count as a direct change of that register when a dump is restored.
CREATE TABLE courier_pii.staff_register (
	staff_no	text PRIMARY KEY CHECK (staff_no <> ''),
	display_name text NOT NULL,
	login_role	regrole UNIQUE,
	org			text NOT NULL,
	post		text,
	status		text NOT NULL DEFAULT 'active'
				CHECK (status IN ('active', 'suspended', 'departed')),
	hired_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	departed_at	timestamptz,
	reason		text,
	details		jsonb NOT NULL DEFAULT '{}',
	changed_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	changed_by	name NOT NULL,
	CHECK (status <> 'departed' OR departed_at IS NOT NULL)
);

CREATE INDEX staff_register_org ON courier_pii.staff_register (org);

-- ---- changing ----

CREATE FUNCTION courier_pii.add_org(code text, name text, kind text,
									parent text DEFAULT NULL)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_add_org';

CREATE FUNCTION courier_pii.hire(staff_no text, display_name text,
								 login_role regrole, org text, post text,
								 details jsonb DEFAULT '{}')
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_hire';

CREATE FUNCTION courier_pii.depart(staff_no text,
								   effective timestamptz DEFAULT pg_catalog.now(),
								   reason text DEFAULT NULL)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_depart';

CREATE FUNCTION courier_pii.suspend(staff_no text, reason text DEFAULT NULL)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_suspend';

CREATE FUNCTION courier_pii.transfer(staff_no text, org text, post text)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_transfer';

CREATE FUNCTION courier_pii.appoint(duty text, role regrole)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_appoint';

-- ---- asking ----

CREATE FUNCTION courier_pii.actor_staff_no() RETURNS text
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'cpii_actor_staff_no';

CREATE FUNCTION courier_pii.actor_login() RETURNS name
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'cpii_actor_login';

CREATE FUNCTION courier_pii.actor_org() RETURNS text
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'cpii_actor_org';

CREATE FUNCTION courier_pii.actor_client() RETURNS text
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'cpii_actor_client';

CREATE FUNCTION courier_pii.actor_record(OUT staff_no text,
										 OUT login_role name, OUT proof text,
										 OUT org text, OUT client_addr inet)
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'cpii_actor_record';

CREATE FUNCTION courier_pii.org_within(root text) RETURNS SETOF text
	LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 50
	AS 'MODULE_PATHNAME', 'cpii_org_within';

CREATE FUNCTION courier_pii.leaver_report(staff_no text, OUT section text,
										  OUT item text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 20
	AS 'MODULE_PATHNAME', 'cpii_leaver_report';

CREATE VIEW courier_pii.actor AS
	SELECT a.staff_no, a.login_role, a.proof, a.org, a.client_addr
	FROM courier_pii.actor_record() a;

CREATE VIEW courier_pii.org_units AS
	SELECT o.code, o.name, o.kind, o.parent
	FROM courier_pii.org_register o;

CREATE VIEW courier_pii.staff AS
	SELECT s.staff_no, s.display_name, s.login_role, s.org, s.post, s.status,
		   s.hired_at, s.departed_at
	FROM courier_pii.staff_register s;

-- every role that can log in belongs here, whether a person has it or nobody
CREATE VIEW courier_pii.accounts AS
	SELECT coalesce(s.login_role, r.oid::pg_catalog.regrole) AS login_role,
		   s.staff_no,
		   coalesce(s.status, 'unregistered') AS status,
		   coalesce(r.rolcanlogin, false) AS can_login,
		   s.departed_at AS not_after,
		   coalesce(a.sessions, 0) AS sessions
	FROM (SELECT * FROM courier_pii.staff_register
		  WHERE login_role IS NOT NULL) s
		 FULL JOIN (SELECT oid, rolcanlogin FROM pg_catalog.pg_authid) r
		 ON r.oid = s.login_role
		 LEFT JOIN (SELECT usesysid, pg_catalog.count(*) AS sessions
					FROM pg_catalog.pg_stat_get_activity(NULL)
					GROUP BY usesysid) a
		 ON a.usesysid = coalesce(s.login_role, r.oid)
	WHERE s.staff_no IS NOT NULL OR r.rolcanlogin;

-- departed people and people whose departure is set
CREATE VIEW courier_pii.leavers AS
	SELECT s.staff_no, s.display_name, s.login_role, s.org, s.post, s.status,
		   s.departed_at, s.reason, a.can_login, a.sessions
	FROM courier_pii.staff_register s
		 LEFT JOIN courier_pii.accounts a ON a.staff_no = s.staff_no
	WHERE s.departed_at IS NOT NULL;

-- ---- dump ----

SELECT pg_catalog.pg_extension_config_dump('courier_pii.org_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.staff_register', '');

-- ---- rights ----

REVOKE ALL ON FUNCTION courier_pii.add_org(text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.hire(text, text, regrole, text, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.depart(text, timestamptz, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.suspend(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.transfer(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.appoint(text, regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.leaver_report(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION courier_pii.add_org(text, text, text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.hire(text, text, regrole, text, text, jsonb) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.depart(text, timestamptz, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.suspend(text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.transfer(text, text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.appoint(text, regrole) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.leaver_report(text)
	TO pii_account_admin, pii_security_admin, pii_auditor;

GRANT EXECUTE ON FUNCTION courier_pii.actor_staff_no() TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.actor_login() TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.actor_org() TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.actor_client() TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.actor_record() TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.org_within(text) TO PUBLIC;

GRANT SELECT ON courier_pii.actor, courier_pii.org_units TO PUBLIC;
GRANT SELECT ON courier_pii.staff, courier_pii.accounts, courier_pii.leavers
	TO pii_account_admin, pii_security_admin, pii_auditor;

-- ---- comments ----

COMMENT ON TABLE courier_pii.org_register IS 'organisation units of the company';
COMMENT ON TABLE courier_pii.staff_register IS 'people who work here and the one login role of each; changed through functions only';
COMMENT ON COLUMN courier_pii.staff_register.display_name IS 'name of a member of the company''s own staff, stored plain: registers and audit must be readable without a key';
COMMENT ON COLUMN courier_pii.staff_register.details IS 'further facts; key "client" names the client company that the person works for';
COMMENT ON FUNCTION courier_pii.add_org(text, text, text, text) IS 'add an organisation unit';
COMMENT ON FUNCTION courier_pii.hire(text, text, regrole, text, text, jsonb) IS 'enter a person and the login role that only this person uses';
COMMENT ON FUNCTION courier_pii.depart(text, timestamptz, text) IS 'a person leaves: from the effective time on no statement and no login';
COMMENT ON FUNCTION courier_pii.suspend(text, text) IS 'disable a person''s account at once';
COMMENT ON FUNCTION courier_pii.transfer(text, text, text) IS 'move a person to another organisation unit or post';
COMMENT ON FUNCTION courier_pii.appoint(text, regrole) IS 'give a role a duty; security administrator, auditor, account administrator and superuser exclude each other';
COMMENT ON FUNCTION courier_pii.actor_staff_no() IS 'staff number of the person acting, or null';
COMMENT ON FUNCTION courier_pii.actor_login() IS 'authenticated role of the session';
COMMENT ON FUNCTION courier_pii.actor_org() IS 'organisation unit of the person acting, or null';
COMMENT ON FUNCTION courier_pii.actor_client() IS 'client company of the person acting, or null';
COMMENT ON FUNCTION courier_pii.actor_record() IS 'the row of view courier_pii.actor';
COMMENT ON FUNCTION courier_pii.org_within(text) IS 'an organisation unit and everything below it';
COMMENT ON FUNCTION courier_pii.leaver_report(text) IS 'what a person who leaves has and leaves behind';
COMMENT ON VIEW courier_pii.actor IS 'who is acting in this session';
COMMENT ON VIEW courier_pii.org_units IS 'organisation units';
COMMENT ON VIEW courier_pii.staff IS 'people who work or worked here';
COMMENT ON VIEW courier_pii.accounts IS 'login roles, whose they are, whether they work; "unregistered" belongs to nobody';
COMMENT ON VIEW courier_pii.leavers IS 'people who have left or whose departure is set';
