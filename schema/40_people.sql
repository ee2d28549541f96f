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
	contract_end timestamptz,
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
	source		text,
	active_since timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	changed_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	changed_by	name NOT NULL,
	CHECK (status <> 'departed' OR departed_at IS NOT NULL)
);

CREATE INDEX staff_register_org ON courier_pii.staff_register (org);

-- Login roles: a person has one login of their own, and one more to administer
-- with; logins of applications have a person who answers for them.
CREATE TABLE courier_pii.account_register (
	login_role	regrole PRIMARY KEY,
	staff_no	text NOT NULL,
	kind		text NOT NULL DEFAULT 'human'
				CHECK (kind IN ('human', 'admin', 'service')),
	disabled	boolean NOT NULL DEFAULT false,
	must_change	boolean NOT NULL DEFAULT false,
	password_set_at timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	from_minute	smallint CHECK (from_minute BETWEEN 0 AND 1439),
	to_minute	smallint CHECK (to_minute BETWEEN 0 AND 1439),
	weekdays	smallint NOT NULL DEFAULT 127 CHECK (weekdays BETWEEN 1 AND 127),
	addresses	cidr[],
	sharing		boolean NOT NULL DEFAULT false,
	last_login_at timestamptz,
	added_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	CHECK ((from_minute IS NULL) = (to_minute IS NULL))
);

CREATE UNIQUE INDEX account_register_person
	ON courier_pii.account_register (staff_no, kind) WHERE kind <> 'service';
CREATE INDEX account_register_staff_no ON courier_pii.account_register (staff_no);

-- where a person worked and as what, from when to when
CREATE TABLE courier_pii.post_register (
	staff_no	text NOT NULL,
	org			text NOT NULL,
	post		text,
	from_at		timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	to_at		timestamptz,
	changed_by	name NOT NULL
);

CREATE UNIQUE INDEX post_register_now
	ON courier_pii.post_register (staff_no) WHERE to_at IS NULL;
CREATE INDEX post_register_staff_no ON courier_pii.post_register (staff_no);

-- group roles that come and go with a post
CREATE TABLE courier_pii.post_right (
	post		text NOT NULL CHECK (post <> ''),
	role		regrole NOT NULL,
	changed_by	name NOT NULL,
	changed_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	PRIMARY KEY (post, role)
);

-- memberships that were taken from an account, and why
CREATE TABLE courier_pii.membership_taken (
	login_role	regrole NOT NULL,
	staff_no	text NOT NULL,
	group_role	regrole NOT NULL,
	admin_option boolean NOT NULL,
	cause		text NOT NULL,
	taken_at	timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
	taken_by	name NOT NULL
);

CREATE INDEX membership_taken_staff_no ON courier_pii.membership_taken (staff_no);

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

CREATE FUNCTION courier_pii.reinstate(staff_no text)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_reinstate';

CREATE FUNCTION courier_pii.set_org_contract(code text, ends timestamptz)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_org_contract';

CREATE FUNCTION courier_pii.add_account(staff_no text, login_role regrole,
										kind text DEFAULT 'admin')
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_add_account';

CREATE FUNCTION courier_pii.set_login_rule(login_role regrole,
										   from_time time DEFAULT NULL,
										   to_time time DEFAULT NULL,
										   weekdays integer[] DEFAULT NULL,
										   addresses cidr[] DEFAULT NULL,
										   sharing boolean DEFAULT false)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_login_rule';

CREATE FUNCTION courier_pii.set_post_rights(post text, roles regrole[])
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_post_rights';

CREATE FUNCTION courier_pii.unlock(login_role regrole)
	RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_unlock';

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

-- what shared memory knows of accounts beyond the registers
CREATE FUNCTION courier_pii.account_states(OUT login_role oid,
										   OUT last_login_at timestamptz,
										   OUT locked_until timestamptz,
										   OUT failures integer)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 1000
	AS 'MODULE_PATHNAME', 'cpii_account_states';

CREATE FUNCTION courier_pii.leaver_report(staff_no text, OUT section text,
										  OUT item text, OUT detail text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 20
	AS 'MODULE_PATHNAME', 'cpii_leaver_report';

CREATE VIEW courier_pii.actor AS
	SELECT a.staff_no, a.login_role, a.proof, a.org, a.client_addr
	FROM courier_pii.actor_record() a;

CREATE VIEW courier_pii.org_units AS
	SELECT o.code, o.name, o.kind, o.parent, o.contract_end
	FROM courier_pii.org_register o;

CREATE VIEW courier_pii.staff AS
	SELECT s.staff_no, s.display_name, s.login_role, s.org, s.post, s.status,
		   s.hired_at, s.departed_at
	FROM courier_pii.staff_register s;

-- every role that can log in belongs here, whether a person has it or nobody
CREATE VIEW courier_pii.accounts AS
	SELECT coalesce(c.login_role, r.oid::pg_catalog.regrole) AS login_role,
		   c.staff_no,
		   CASE WHEN c.kind = 'service' THEN
				CASE WHEN c.disabled THEN 'suspended' ELSE 'active' END
				ELSE coalesce(s.status, 'unregistered') END AS status,
		   coalesce(r.rolcanlogin, false) AS can_login,
		   CASE WHEN c.kind <> 'service' THEN s.departed_at END AS not_after,
		   coalesce(a.sessions, 0) AS sessions,
		   c.kind,
		   c.must_change,
		   c.password_set_at,
		   greatest(c.last_login_at, t.last_login_at) AS last_login_at,
		   t.locked_until,
		   coalesce(t.failures, 0) AS failures,
		   c.from_minute, c.to_minute, c.weekdays, c.addresses, c.sharing
	FROM courier_pii.account_register c
		 FULL JOIN (SELECT oid, rolcanlogin FROM pg_catalog.pg_authid) r
		 ON r.oid = c.login_role
		 LEFT JOIN courier_pii.staff_register s ON s.staff_no = c.staff_no
		 LEFT JOIN (SELECT usesysid, pg_catalog.count(*) AS sessions
					FROM pg_catalog.pg_stat_get_activity(NULL)
					GROUP BY usesysid) a
		 ON a.usesysid = coalesce(c.login_role, r.oid)
		 LEFT JOIN courier_pii.account_states() t
		 ON t.login_role = coalesce(c.login_role, r.oid)
	WHERE c.staff_no IS NOT NULL OR r.rolcanlogin;

CREATE VIEW courier_pii.posts AS
	SELECT p.staff_no, p.org, p.post, p.from_at, p.to_at, p.changed_by
	FROM courier_pii.post_register p;

CREATE VIEW courier_pii.post_rights AS
	SELECT p.post, p.role, p.changed_by, p.changed_at
	FROM courier_pii.post_right p;

-- departed people and people whose departure is set
CREATE VIEW courier_pii.leavers AS
	SELECT s.staff_no, s.display_name, s.login_role, s.org, s.post, s.status,
		   s.departed_at, s.reason, a.can_login, a.sessions
	FROM courier_pii.staff_register s
		 LEFT JOIN courier_pii.accounts a ON a.login_role = s.login_role
	WHERE s.departed_at IS NOT NULL;

-- ---- dump ----

SELECT pg_catalog.pg_extension_config_dump('courier_pii.org_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.staff_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.account_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.post_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.post_right', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.membership_taken', '');

-- ---- rights ----

REVOKE ALL ON FUNCTION courier_pii.add_org(text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.hire(text, text, regrole, text, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.depart(text, timestamptz, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.suspend(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.transfer(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.reinstate(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.set_org_contract(text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.add_account(text, regrole, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.set_login_rule(regrole, time, time, integer[], cidr[], boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.set_post_rights(text, regrole[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.unlock(regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.account_states() FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.appoint(text, regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.leaver_report(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION courier_pii.add_org(text, text, text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.hire(text, text, regrole, text, text, jsonb) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.depart(text, timestamptz, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.suspend(text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.transfer(text, text, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.reinstate(text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.set_org_contract(text, timestamptz) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.add_account(text, regrole, text) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.set_login_rule(regrole, time, time, integer[], cidr[], boolean) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.set_post_rights(text, regrole[]) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.unlock(regrole) TO pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.account_states() TO pii_account_admin, pii_security_admin, pii_auditor;
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
GRANT SELECT ON courier_pii.staff, courier_pii.accounts, courier_pii.leavers,
	courier_pii.posts, courier_pii.post_rights
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
COMMENT ON FUNCTION courier_pii.reinstate(text) IS 'let a suspended or departed person work again';
COMMENT ON FUNCTION courier_pii.set_org_contract(text, timestamptz) IS 'set the end of the contract with a unit: from then on the accounts of its people, and of units below it, are disabled';
COMMENT ON FUNCTION courier_pii.add_account(text, regrole, text) IS 'enter another login of a person: to administer with, or of an application that the person answers for';
COMMENT ON FUNCTION courier_pii.set_login_rule(regrole, time, time, integer[], cidr[], boolean) IS 'set when and from where an account may log in, and whether from several places at once';
COMMENT ON FUNCTION courier_pii.set_post_rights(text, regrole[]) IS 'set the group roles that come and go with a post';
COMMENT ON FUNCTION courier_pii.unlock(regrole) IS 'end the lock that failed logins have put on an account';
COMMENT ON FUNCTION courier_pii.account_states() IS 'logins and locks of accounts, from shared memory';
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
COMMENT ON TABLE courier_pii.account_register IS 'login roles of people: kind, login rules, state of the password; changed through functions only';
COMMENT ON COLUMN courier_pii.account_register.weekdays IS 'days on which the account may log in: sum of 1 for Sunday, 2 for Monday, ... 64 for Saturday';
COMMENT ON TABLE courier_pii.post_register IS 'where people worked and as what, with dates';
COMMENT ON TABLE courier_pii.post_right IS 'group roles that come and go with a post; changed through set_post_rights only';
COMMENT ON TABLE courier_pii.membership_taken IS 'memberships that were taken away at departure or transfer';
COMMENT ON VIEW courier_pii.posts IS 'where people worked and as what, with dates';
COMMENT ON VIEW courier_pii.post_rights IS 'group roles that come and go with a post';
