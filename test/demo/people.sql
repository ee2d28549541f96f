/*
 * people.sql: organisation units, people and duties, from the company's own
 * tables; a person's login role belongs to that person only.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

SELECT count(courier_pii.add_org(code, name, kind, parent)::text) AS units
FROM (SELECT * FROM express.org_unit ORDER BY length(path), path) AS o;

SELECT count(courier_pii.hire(s.staff_no, s.name, s.login_role::regrole,
							  o.code, s.post)::text) AS people
FROM express.staff s JOIN express.org_unit o ON o.id = s.org_unit_id
WHERE s.left_on IS NULL;

SELECT courier_pii.appoint('pii_security_admin', 'security_feng'),
	   courier_pii.appoint('pii_auditor', 'auditor_zheng'),
	   courier_pii.appoint('pii_account_admin', 'account_chen');

-- rules are written about tables of this schema; reading them stays denied
GRANT USAGE ON SCHEMA express TO security_feng;
