-- People: a smoke test.  Sessions and logins are tested elsewhere.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_paul LOGIN;
SELECT courier_pii.add_org('RP0', 'head office', 'hq'), courier_pii.add_org('RP1', 'south', 'branch', 'RP0');
SELECT courier_pii.add_org('RP0', 'again', 'hq');
SELECT courier_pii.hire('RPP1', 'Paul', 'regress_courier_pii_paul', 'RP1', 'courier');
SELECT courier_pii.hire('RPP1', 'Paul', 'regress_courier_pii_paul', 'RP1', 'courier');
SELECT courier_pii.hire('RPP2', 'Paula', 'regress_courier_pii_paul', 'RP1', 'courier');
SELECT staff_no, display_name, login_role, org, post, status FROM courier_pii.staff WHERE staff_no LIKE 'RPP%' ORDER BY staff_no;
UPDATE courier_pii.staff_register SET status = 'departed' WHERE staff_no = 'RPP1';
\c - regress_courier_pii_paul
SELECT staff_no, login_role, proof, org FROM courier_pii.actor;
SELECT courier_pii.hire('RPP3', 'Paul', 'regress_courier_pii_paul', 'RP1', 'courier');
\c - :superuser
SELECT courier_pii.transfer('RPP1', 'RP0', 'clerk');
\c - regress_courier_pii_paul
SELECT staff_no, org FROM courier_pii.actor;
\c - :superuser
SELECT courier_pii.depart('RPP1', reason => 'test');
SELECT courier_pii.depart('RPP9', reason => 'test');
SELECT staff_no, status, reason FROM courier_pii.leavers WHERE staff_no LIKE 'RPP%' ORDER BY staff_no;
DROP OWNED BY regress_courier_pii_paul;
DROP ROLE regress_courier_pii_paul;
