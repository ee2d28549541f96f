-- Alerts over audit records, and decoy rows.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_clara LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
CREATE ROLE regress_courier_pii_security LOGIN;
CREATE SCHEMA regress_alert;
CREATE SCHEMA regress_alview;
GRANT USAGE ON SCHEMA regress_alview TO PUBLIC;
CREATE TABLE regress_alert.w (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, no text, name text, phone text, station text NOT NULL);
INSERT INTO regress_alert.w (no, name, phone, station) SELECT 'SF' || (2000000000000 + i), '王小明', '137' || lpad(i::text, 8, '0'), 'north' FROM generate_series(1, 100) i;
SELECT courier_pii.protect_column('regress_alert.w', 'phone', 'phone'), courier_pii.protect_column('regress_alert.w', 'name', 'person_name'), courier_pii.protect_column('regress_alert.w', 'no', 'waybill_no');
SELECT courier_pii.create_masked_view('regress_alert.w', 'regress_alview');
GRANT SELECT ON regress_alview.w TO regress_courier_pii_clara;
SELECT courier_pii.grant_disclosure('regress_courier_pii_clara', 'phone', 'clear', true);
SELECT courier_pii.grant_disclosure('regress_courier_pii_clara', 'waybill_no', 'masked', true);
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_auditor'), courier_pii.appoint('pii_security_admin', 'regress_courier_pii_security');
CREATE FUNCTION regress_alert.wait(rule text, n int) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE found bigint;
BEGIN
	FOR i IN 1 .. 300 LOOP
		SELECT count(*) INTO found FROM courier_pii.alert a WHERE a.rule = $1 AND a.login_role = 'regress_courier_pii_clara';
		EXIT WHEN found >= n;
		PERFORM pg_sleep(0.1);
	END LOOP;
	RETURN rule || ' ' || found;
END $$;
GRANT USAGE ON SCHEMA regress_alert TO PUBLIC;

\c - regress_courier_pii_security
SELECT name, kind, threshold, time_window, severity, enabled FROM courier_pii.alert_rules ORDER BY name;
SELECT courier_pii.set_alert_rule('regress_volume', 'volume', 50, '1 hour', 'critical', scope => '{"login_role": "regress_courier_pii_clara"}');
SELECT courier_pii.set_alert_rule('regress_other', 'volume', 1, '1 hour', 'critical', scope => '{"login_role": "somebody"}');
SELECT courier_pii.set_alert_rule('regress_night', 'off_hours', 1, '1 minute', from_hour => 0, to_hour => 0, scope => '{"relation": "regress_alert.w"}');
SELECT courier_pii.set_alert_rule('regress_probes', 'many_probes', 30, '1 hour', 'warning', scope => '{"login_role": "regress_courier_pii_clara"}');
\set VERBOSITY terse
SELECT courier_pii.set_alert_rule('regress_x', 'moonlight');
SELECT courier_pii.set_alert_rule('regress_x', 'volume', 0);
SELECT courier_pii.set_alert_rule('regress_x', 'volume', time_zone => 'Moon/Crater');
SELECT courier_pii.set_alert_rule('regress_x', 'volume', scope => '{"planet": 1}');
SELECT courier_pii.set_alert_rule(NULL, 'volume');
DELETE FROM courier_pii.alert;
-- decoys
SELECT courier_pii.add_canary('regress_alert.w') AS decoy \gset
SELECT courier_pii.add_canary('regress_alert.w', '{"phone": "13655550001", "station": "south"}') AS known \gset
SELECT courier_pii.add_canary('pg_class');
SELECT tbl, columns FROM courier_pii.canaries();

\c - regress_courier_pii_clara
SELECT count(*) FROM regress_alview.w;
SELECT count(DISTINCT station) FROM regress_alview.w;
SELECT count(no) FROM regress_alview.w WHERE no = ANY (SELECT 'SF' || (2000000000000 + i) FROM generate_series(1, 3) i);
DO $$ BEGIN FOR i IN 1 .. 15 LOOP PERFORM id FROM regress_alview.w WHERE no = 'SF' || (2000000000000 + i); END LOOP; END $$;
DO $$ BEGIN FOR i IN 16 .. 30 LOOP PERFORM id FROM regress_alview.w WHERE no = 'SF' || (2000000000000 + i); END LOOP; END $$;
-- by chance: far apart
SELECT id FROM regress_alview.w WHERE no = 'SF2000000099000';
SELECT count(length(phone)) FROM regress_alview.w WHERE id <= 60;
SELECT length(phone) FROM regress_alview.w WHERE phone = '13655550001';
COPY (SELECT length(no) FROM regress_alview.w WHERE station = 'south') TO stdout;
SELECT 1 / 0 FROM regress_alview.w WHERE false;
SELECT phone FROM regress_alert.w;
SELECT courier_pii.acknowledge_alert(1);
SELECT * FROM courier_pii.canaries();
SELECT * FROM courier_pii.alerts;

\c - regress_courier_pii_auditor
SELECT courier_pii.audit_flush();
SELECT regress_alert.wait('regress_volume', 1), regress_alert.wait('regress_night', 1), regress_alert.wait('sequential_walk', 1), regress_alert.wait('canary', 1), regress_alert.wait('regress_probes', 1), regress_alert.wait('regress_other', 0);
SELECT rule, kind, severity, login_role, amount >= 1 AS counted FROM courier_pii.alerts WHERE login_role = 'regress_courier_pii_clara' AND rule ~ 'regress|walk|canary' ORDER BY rule COLLATE "C";
SELECT command, relations, classes, disclosed, masked, detail - 'canary' AS detail, detail ->> 'canary' = :'known' AS known FROM courier_pii.audit_log WHERE action = 'CANARY' ORDER BY seq;
SELECT action, (detail ->> 'walk')::int AS walk FROM courier_pii.audit_log WHERE detail ? 'walk' AND login_role = 'regress_courier_pii_clara' ORDER BY seq;
SELECT min(id) AS first FROM courier_pii.alerts WHERE rule = 'regress_volume' \gset
SELECT courier_pii.acknowledge_alert(:first, 'a known task');
SELECT courier_pii.acknowledge_alert(:first, 'again');
SELECT rule, acknowledged_by, note FROM courier_pii.alerts WHERE id = :first;
SELECT courier_pii.set_alert_rule('x', 'volume');
SELECT courier_pii.add_canary('regress_alert.w');

\c - :superuser
-- what a database administrator learns of decoys
SELECT count(*), count(*) FILTER (WHERE encode(secret, 'escape') ~ 'regress|phone') AS told FROM courier_pii.canary_register;
UPDATE courier_pii.alert SET note = NULL;
\c - regress_courier_pii_security
SELECT courier_pii.remove_canary(:decoy), courier_pii.remove_canary(:known);
SELECT courier_pii.remove_canary(:known);
SELECT count(*) FROM courier_pii.canaries();
SELECT courier_pii.drop_alert_rule('regress_volume'), courier_pii.drop_alert_rule('regress_probes'), courier_pii.drop_alert_rule('regress_other'), courier_pii.drop_alert_rule('regress_night');
SELECT courier_pii.drop_alert_rule('volume');
\c - regress_courier_pii_clara
SELECT count(*) FROM regress_alview.w;
SELECT * FROM courier_pii.monitor;
\c - :superuser
SET ROLE pg_monitor;
SELECT metric FROM courier_pii.monitor ORDER BY metric COLLATE "C";
SELECT metric, value FROM courier_pii.monitor WHERE metric IN ('audit_ready', 'audit_worker_up', 'audit_records_lost');
SELECT value > 0 AS some FROM courier_pii.monitor WHERE metric = 'alerts_open_critical';
RESET ROLE;
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_alert, regress_alview CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clara', 'phone'), courier_pii.revoke_disclosure('regress_courier_pii_clara', 'waybill_no');
REVOKE pii_auditor FROM regress_courier_pii_auditor;
REVOKE pii_security_admin FROM regress_courier_pii_security;
DROP OWNED BY regress_courier_pii_clara, regress_courier_pii_auditor, regress_courier_pii_security;
DROP ROLE regress_courier_pii_clara, regress_courier_pii_auditor, regress_courier_pii_security;
