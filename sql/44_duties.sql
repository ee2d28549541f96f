-- The duties exclude each other and superuser, however somebody gets them.
-- (Sealing cannot be undone: test/t/045_duties.pl does it.)
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_d1 LOGIN;
CREATE ROLE regress_courier_pii_d2 LOGIN;
CREATE ROLE regress_courier_pii_dg;
-- plain GRANT, nested, by way of a group
GRANT pii_auditor TO regress_courier_pii_d1;
GRANT pii_security_admin TO regress_courier_pii_d1;
GRANT regress_courier_pii_dg TO regress_courier_pii_d1;
GRANT pii_account_admin TO regress_courier_pii_dg;
GRANT pii_auditor TO pii_security_admin;
-- superuser
ALTER ROLE regress_courier_pii_d1 SUPERUSER;
CREATE ROLE regress_courier_pii_d3 SUPERUSER IN ROLE pii_auditor;
CREATE ROLE regress_courier_pii_d3 ROLE regress_courier_pii_d1 IN ROLE pii_security_admin;
ALTER ROLE pii_auditor SUPERUSER;
DO $$ BEGIN EXECUTE 'GRANT pii_account_admin TO regress_courier_pii_d1'; END $$;
-- nothing of it happened
SELECT roleid::regrole, member::regrole FROM pg_auth_members
WHERE member::regrole::text ~ '^"?regress_courier_pii_d' ORDER BY 1, 2;
SELECT rolname FROM pg_roles WHERE rolsuper AND rolname ~ 'courier_pii_d|^pii_';
-- what makes no conflict passes; taking away always
GRANT pii_backup TO regress_courier_pii_d1;
GRANT pii_security_admin TO regress_courier_pii_d2;
REVOKE pii_auditor, pii_backup FROM regress_courier_pii_d1;
GRANT pii_account_admin TO regress_courier_pii_dg;
REVOKE pii_account_admin FROM regress_courier_pii_dg;
-- recorded
GRANT pii_auditor TO regress_courier_pii_d1;
SELECT courier_pii.audit_flush();
\c - regress_courier_pii_d1
SELECT command, outcome, detail ->> 'object' AS object, count(*) > 0 AS recorded
FROM courier_pii.audit_denied WHERE detail ->> 'refused' LIKE '%exclude each other%'
AND detail ->> 'object' LIKE 'regress_courier_pii_d%' GROUP BY 1, 2, 3 ORDER BY 1, 3;
\c - :superuser
SET client_min_messages = warning;
REVOKE pii_auditor FROM regress_courier_pii_d1;
-- sealing wants a person for each duty
\set VERBOSITY default
SELECT courier_pii.seal_duties();
\set VERBOSITY terse
SELECT courier_pii.duties_sealed();
SELECT sealed FROM courier_pii.duty_status;
SET ROLE regress_courier_pii_dg;
SELECT courier_pii.seal_duties();
RESET ROLE;
DROP ROLE regress_courier_pii_d1, regress_courier_pii_d2, regress_courier_pii_dg;
