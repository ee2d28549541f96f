-- Gates: agreement, training, contract, connection; off, warn, on.
\set VERBOSITY terse
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_service; CREATE ROLE regress_courier_pii_wang LOGIN IN ROLE regress_courier_pii_service;
CREATE ROLE regress_courier_pii_guest LOGIN IN ROLE regress_courier_pii_service;
CREATE SCHEMA regress_gate;
CREATE TABLE regress_gate.parcel (id integer PRIMARY KEY, phone text);
INSERT INTO regress_gate.parcel VALUES (1, '13800000001');
SELECT courier_pii.protect_column('regress_gate.parcel', 'phone', 'phone');
SELECT courier_pii.create_masked_view('regress_gate.parcel', 'regress_gate_masked');
GRANT USAGE ON SCHEMA regress_gate_masked TO regress_courier_pii_service;
GRANT SELECT ON regress_gate_masked.parcel TO regress_courier_pii_service;
SELECT courier_pii.add_org('GT0', 'vendor', 'vendor'), courier_pii.add_org('GT1', 'desk', 'outlet', 'GT0');
SELECT courier_pii.hire('GTP1', 'Wang', 'regress_courier_pii_wang', 'GT1', 'service');
SELECT courier_pii.grant_disclosure('regress_courier_pii_service', 'phone', 'clear');
SELECT gate, mode FROM courier_pii.gates ORDER BY gate;

-- what only warns is allowed
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
SELECT level, reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
-- on: masked, no search, and the person is told why; also in a prepared statement
PREPARE list AS SELECT phone FROM regress_gate_masked.parcel;
EXECUTE list;
\c - :superuser
SELECT courier_pii.set_gate('training', 'on');
\c - regress_courier_pii_wang
PREPARE list AS SELECT phone FROM regress_gate_masked.parcel;
EXECUTE list;
SELECT level, searchable, reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
SELECT phone FROM regress_gate_masked.parcel WHERE phone = '13800000001';
-- recorded for the person: passes; recorded for the future, or ended: does not
\c - :superuser
SELECT courier_pii.record_standing('training', 'GTP1', valid_from => now() + '1 day', evidence => 'course 7');
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
\c - :superuser
SELECT courier_pii.record_standing('training', 'GTP1', valid_until => now() + '1 year', evidence => 'course 6');
SELECT gate, staff_no, org, evidence FROM courier_pii.standings WHERE staff_no = 'GTP1' ORDER BY evidence;
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
-- the date passes while the session waits, without anybody doing anything
\c - :superuser
SELECT courier_pii.end_standing('training', 'GTP1');
SELECT courier_pii.record_standing('training', 'GTP1', valid_until => clock_timestamp() + '3 s');
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        EXIT WHEN (SELECT level FROM courier_pii.effective_disclosures WHERE class = 'phone') = 'masked';
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
SELECT phone FROM regress_gate_masked.parcel;
-- an organisation's contract counts for the units and people below it
\c - :superuser
SELECT courier_pii.set_gate('training', 'off'), courier_pii.set_gate('contract', 'on');
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
\c - :superuser
SELECT courier_pii.record_standing('contract', org => 'GT0', valid_until => now() + '1 year');
\c - regress_courier_pii_wang
SELECT phone FROM regress_gate_masked.parcel;
-- somebody who is not in the roster has no standing at all
\c - regress_courier_pii_guest
SELECT phone FROM regress_gate_masked.parcel;
SELECT reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
SELECT courier_pii.set_gate('contract', 'off');
SELECT courier_pii.record_standing('contract', org => 'GT0');
-- bad input
\c - :superuser
SELECT courier_pii.set_gate('account', 'off');
SELECT courier_pii.set_gate('training', 'maybe');
SELECT courier_pii.record_standing('tls', 'GTP1');
SELECT courier_pii.record_standing('training');
SELECT courier_pii.record_standing('training', 'GTP1', 'GT0');
SELECT courier_pii.record_standing('training', 'GTP9');
SELECT courier_pii.record_standing('contract', org => 'GT9');
SELECT courier_pii.record_standing('training', 'GTP1', valid_from => now(), valid_until => now() - '1 day'::interval);
INSERT INTO courier_pii.gate_setting VALUES ('tls', 'off', 'me');
-- what a gate only warned of is in the record
SELECT courier_pii.set_gate('contract', 'warn'), courier_pii.set_gate('training', 'warn');
CREATE ROLE regress_courier_pii_watch LOGIN; GRANT pii_auditor TO regress_courier_pii_watch;
\c - regress_courier_pii_guest
SELECT phone FROM regress_gate_masked.parcel;
\c - :superuser
SELECT courier_pii.audit_flush();
\c - regress_courier_pii_watch
SELECT detail - 'shown' AS detail FROM courier_pii.audit_log WHERE login_role = 'regress_courier_pii_guest' AND disclosed > 0;
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_gate_masked, regress_gate CASCADE;
DROP OWNED BY regress_courier_pii_service, regress_courier_pii_wang, regress_courier_pii_guest, regress_courier_pii_watch;
DROP ROLE regress_courier_pii_service, regress_courier_pii_wang, regress_courier_pii_guest, regress_courier_pii_watch;
