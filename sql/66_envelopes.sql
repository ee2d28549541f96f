-- Accounts whose password nobody knows alone.  (Openings need several sessions:
-- test/t/047_envelopes.pl and 048_joint_passwords.pl.)
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_e1 LOGIN;
CREATE ROLE regress_courier_pii_e2 LOGIN;
CREATE ROLE regress_courier_pii_e3 LOGIN;
CREATE ROLE regress_courier_pii_e4 LOGIN;
CREATE ROLE regress_courier_pii_esec LOGIN;
CREATE ROLE regress_courier_pii_eaud LOGIN;
CREATE ROLE regress_courier_pii_rescue LOGIN PASSWORD 'Vermilion-7-cactus-Umbrella';
CREATE ROLE regress_courier_pii_rescue2;
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_esec');
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_eaud');
SELECT courier_pii.add_org('ENV', 'Head office', 'hq');
SELECT courier_pii.hire('E1', 'Anna', 'regress_courier_pii_e1', 'ENV', NULL);
SELECT courier_pii.hire('E2', 'Bert', 'regress_courier_pii_e2', 'ENV', NULL);
SELECT courier_pii.hire('E3', 'Carl', 'regress_courier_pii_e3', 'ENV', NULL);
SELECT courier_pii.hire('E4', 'Emil', 'regress_courier_pii_e4', 'ENV', NULL);
-- who may be sealed, by whom, for whom
\c - regress_courier_pii_e1
\set VERBOSITY terse
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E3}');
SELECT * FROM courier_pii.envelopes;
\c - regress_courier_pii_esec
\set VERBOSITY terse
SELECT courier_pii.create_envelope(NULL, '{E1,E2,E3}');
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', NULL);
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2}');
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,NULL}');
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E1}');
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,nobody}');
SELECT courier_pii.create_envelope('regress_courier_pii_e4', '{E1,E2,E3}');
SELECT courier_pii.create_envelope('pii_auditor', '{E1,E2,E3}');
SELECT courier_pii.create_envelope('pg_monitor', '{E1,E2,E3}');
SELECT courier_pii.create_envelope('regress_courier_pii_esec', '{E1,E2,E3}');
DO $$ BEGIN
	PERFORM courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E3}');
	RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT * FROM courier_pii.envelopes;
\c - :superuser
\set VERBOSITY terse
GRANT regress_courier_pii_rescue TO regress_courier_pii_e4;
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E3}');
REVOKE regress_courier_pii_rescue FROM regress_courier_pii_e4;
\c - regress_courier_pii_esec
\set VERBOSITY terse
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E3}', 'emergencies');
SELECT courier_pii.create_envelope('regress_courier_pii_rescue', '{E1,E2,E3}', 'again');
SELECT login_role, state, purpose, custodians, shares_taken, opened_by_staff_no, void_reason FROM courier_pii.envelopes;
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'regress_courier_pii_rescue';
-- shares are for their custodians
SELECT courier_pii.take_share('regress_courier_pii_rescue');
\c - regress_courier_pii_e1
\set VERBOSITY terse
SELECT * FROM courier_pii.sealed_share;
SELECT login_role, number, staff_no, state FROM courier_pii.envelope_shares;
SELECT courier_pii.take_share('regress_courier_pii_rescue') ~ '^pii1-2-1-' AS a_share;
SELECT courier_pii.take_share('regress_courier_pii_rescue');
SELECT courier_pii.take_share('regress_courier_pii_rescue2');
SELECT courier_pii.give_share('regress_courier_pii_rescue', 'pii1-2-1-');
SELECT courier_pii.open_envelope('regress_courier_pii_rescue');
SELECT courier_pii.begin_opening('regress_courier_pii_rescue');
SELECT courier_pii.close_envelope('regress_courier_pii_rescue');
-- nobody is lured into it by a view
\c - :superuser
\set VERBOSITY terse
CREATE VIEW public.regress_courier_pii_lure AS SELECT courier_pii.take_share(to_regrole('regress_courier_pii_rescue')) AS phone;
GRANT SELECT ON public.regress_courier_pii_lure TO PUBLIC;
\c - regress_courier_pii_e2
\set VERBOSITY terse
TABLE public.regress_courier_pii_lure;
SELECT state FROM courier_pii.envelope_shares;
-- nobody changes it otherwise
\c - :superuser
DROP VIEW public.regress_courier_pii_lure;
\set VERBOSITY terse
ALTER ROLE regress_courier_pii_rescue LOGIN;
ALTER ROLE regress_courier_pii_rescue PASSWORD NULL;
ALTER ROLE regress_courier_pii_rescue VALID UNTIL 'infinity';
ALTER ROLE regress_courier_pii_rescue SET search_path = public;
GRANT regress_courier_pii_rescue TO regress_courier_pii_e4;
GRANT regress_courier_pii_e4 TO regress_courier_pii_rescue;
ALTER GROUP regress_courier_pii_rescue ADD USER regress_courier_pii_e4;
CREATE ROLE regress_courier_pii_e5 ROLE regress_courier_pii_rescue;
DROP ROLE regress_courier_pii_rescue;
ALTER ROLE regress_courier_pii_rescue NOCREATEDB;
DELETE FROM courier_pii.sealed_account;
SELECT courier_pii.suspect_leak('regress_courier_pii_rescue');
-- a custodian who departs, in a subtransaction that is undone and for good
DO $$ BEGIN
	PERFORM courier_pii.depart('E2');
	RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT state FROM courier_pii.envelopes;
SELECT courier_pii.share_waits(s.login_role, h.series, h.number) FROM courier_pii.sealed_share h JOIN courier_pii.sealed_account s USING (login_role, series) ORDER BY h.number;
SELECT courier_pii.depart('E2');
SELECT state, void_reason FROM courier_pii.envelopes;
SELECT severity, object, finding FROM courier_pii.posture WHERE "check" = 'envelope' ORDER BY finding;
\c - regress_courier_pii_e3
\set VERBOSITY terse
SELECT courier_pii.take_share('regress_courier_pii_rescue');
\c - regress_courier_pii_esec
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.reseal_envelope('regress_courier_pii_rescue');
SELECT courier_pii.reseal_envelope('regress_courier_pii_rescue', '{E1,E3,E4}');
\c - regress_courier_pii_e3
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.take_share('regress_courier_pii_rescue') ~ '^pii1-2-2-' AS a_share;
SELECT courier_pii.report_share_lost('regress_courier_pii_rescue', 'left in a taxi');
\c - regress_courier_pii_eaud
\set VERBOSITY terse
SELECT severity, object, finding FROM courier_pii.posture WHERE "check" = 'envelope' ORDER BY finding;
SELECT login_role, event, by_role = current_user AS by_me, staff_no, ticket, detail FROM courier_pii.envelope_register ORDER BY id;
SELECT how, reason FROM courier_pii.password_register WHERE role_name = 'regress_courier_pii_rescue' AND reason ~ 'envelope' ORDER BY changed_at;
-- joint passwords
\c - regress_courier_pii_e1
\set VERBOSITY terse
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', 'E1', 'E3');
\c - regress_courier_pii_esec
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.create_joint_account(NULL, 'E1', 'E3');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', NULL, 'E3');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', 'E1', 'E1');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', 'E1', 'E2');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue', 'E1', 'E3');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', 'E1', 'E3', 'maintenance');
SELECT courier_pii.create_joint_account('regress_courier_pii_rescue2', 'E1', 'E3', 'maintenance');
SELECT courier_pii.set_joint_custodians('regress_courier_pii_rescue', 'E1', 'E3');
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', 'Granite-3-walnut-Teapot');
\c - regress_courier_pii_e1
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', NULL);
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', 'short');
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', 'Granite-3-regress_courier_pii_rescue2');
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', 'Granite-3-walnut-Teapot');
SELECT courier_pii.attend_joint('regress_courier_pii_rescue2');
SELECT courier_pii.leave_joint();
\c - regress_courier_pii_e3
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.attend_joint('regress_courier_pii_rescue2');
SELECT courier_pii.set_joint_password('regress_courier_pii_rescue2', 'Copper-5-meadow-Violin');
SELECT courier_pii.leave_joint();
\c - regress_courier_pii_eaud
SELECT login_role, state, first_staff_no, second_staff_no, presence, void_reason FROM courier_pii.joint_accounts;
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'regress_courier_pii_rescue2';
\c - :superuser
\set VERBOSITY terse
ALTER ROLE regress_courier_pii_rescue2 PASSWORD 'Vermilion-7-cactus-Umbrella';
SET client_min_messages = warning;
SELECT courier_pii.suspend('E3', 'inquiry');
SELECT state, void_reason FROM courier_pii.joint_accounts;
SELECT rolcanlogin FROM pg_roles WHERE rolname = 'regress_courier_pii_rescue2';
SELECT courier_pii.release_account('regress_courier_pii_rescue2');
-- an ordinary role again
\c - regress_courier_pii_esec
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT courier_pii.release_account('regress_courier_pii_rescue');
SELECT courier_pii.release_account('regress_courier_pii_rescue');
\c - :superuser
SET client_min_messages = warning;
SELECT courier_pii.depart(s) FROM unnest(ARRAY['E1', 'E3', 'E4']) s;
REVOKE pii_security_admin FROM regress_courier_pii_esec;
REVOKE pii_auditor FROM regress_courier_pii_eaud;
DROP ROLE regress_courier_pii_e1, regress_courier_pii_e2, regress_courier_pii_e3, regress_courier_pii_e4,
	regress_courier_pii_esec, regress_courier_pii_eaud, regress_courier_pii_rescue, regress_courier_pii_rescue2;
