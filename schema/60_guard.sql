-- The guard: budgets beside clear values, and who takes how much right now.
-- Limits on clear values are in 20_policy.sql.

-- the column order is known to src/policy/catalog.c
CREATE TABLE courier_pii.budget (
    grantee regrole NOT NULL,
    kind text NOT NULL CHECK (kind IN ('probes', 'masked', 'sealed')),
    per_statement bigint CHECK (per_statement >= 0),
    per_hour bigint CHECK (per_hour >= 0),
    per_day bigint CHECK (per_day >= 0),
    set_by name NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (grantee, kind)
);

CREATE FUNCTION courier_pii.set_budget(grantee regrole, kind text, per_statement bigint, per_hour bigint, per_day bigint) RETURNS void
    AS 'MODULE_PATHNAME', 'cpii_set_budget' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

CREATE VIEW courier_pii.budgets AS
    SELECT l.grantee, 'clear'::text AS kind, l.per_statement, l.per_hour, l.per_day, l.set_by, l.set_at
    FROM courier_pii.disclosure_limit l
    UNION ALL
    SELECT b.grantee, b.kind, b.per_statement, b.per_hour, b.per_day, b.set_by, b.set_at
    FROM courier_pii.budget b;

-- ---- live ----

CREATE FUNCTION courier_pii.live_sessions(OUT pid integer, OUT staff_no text, OUT role oid,
        OUT disclosed bigint, OUT probes bigint, OUT masked bigint, OUT sealed_rows bigint,
        OUT statement_disclosed bigint, OUT statement_probes bigint, OUT statement_masked bigint, OUT statement_sealed_rows bigint,
        OUT hour_disclosed bigint, OUT hour_probes bigint, OUT hour_masked bigint, OUT hour_sealed_rows bigint,
        OUT day_disclosed bigint, OUT day_probes bigint, OUT day_masked bigint, OUT day_sealed_rows bigint,
        OUT ticket text, OUT purpose text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'cpii_live_sessions' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.live_persons(OUT staff_no text, OUT role oid,
        OUT hour_disclosed bigint, OUT hour_probes bigint, OUT hour_masked bigint, OUT hour_sealed_rows bigint,
        OUT day_disclosed bigint, OUT day_probes bigint, OUT day_masked bigint, OUT day_sealed_rows bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'cpii_live_persons' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

-- what the activity view hides from who may not see everything: the duties may
CREATE FUNCTION courier_pii.client_sessions(OUT pid integer, OUT login oid, OUT login_role name, OUT client_addr inet,
        OUT application_name text, OUT backend_start timestamptz, OUT state text)
    RETURNS SETOF record
    LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT a.pid, a.usesysid, a.usename, a.client_addr, a.application_name, a.backend_start, a.state
    FROM pg_catalog.pg_stat_activity a
    WHERE a.backend_type IN ('client backend', 'walsender')
    $$;

CREATE VIEW courier_pii.stat_session AS
    SELECT c.pid, c.login_role,
           CASE WHEN s.pid IS NULL THEN r.staff_no ELSE s.staff_no END AS staff_no,
           c.client_addr, c.application_name, c.backend_start, c.state,
           coalesce(s.disclosed, 0) AS disclosed, coalesce(s.masked, 0) AS masked,
           coalesce(s.probes, 0) AS probes, coalesce(s.sealed_rows, 0) AS sealed_rows,
           coalesce(s.statement_disclosed, 0) AS statement_disclosed,
           coalesce(s.hour_disclosed, 0) AS hour_disclosed, coalesce(s.day_disclosed, 0) AS day_disclosed,
           coalesce(s.hour_probes, 0) AS hour_probes, coalesce(s.day_probes, 0) AS day_probes,
           coalesce(s.hour_masked, 0) AS hour_masked, coalesce(s.day_masked, 0) AS day_masked,
           coalesce(s.hour_sealed_rows, 0) AS hour_sealed_rows, coalesce(s.day_sealed_rows, 0) AS day_sealed_rows,
           s.ticket, s.purpose
    FROM courier_pii.client_sessions() c
         LEFT JOIN courier_pii.live_sessions() s ON s.pid = c.pid
         LEFT JOIN courier_pii.staff_register r ON r.login_role = c.login;

CREATE VIEW courier_pii.stat_person AS
    SELECT p.staff_no, coalesce(r.display_name, '') AS display_name,
           coalesce(p.role::regrole, r.login_role) AS login_role,
           (SELECT pg_catalog.count(*) FROM courier_pii.client_sessions() c
            WHERE c.login = coalesce(p.role, r.login_role::oid)) AS sessions,
           p.hour_disclosed, p.day_disclosed, p.hour_probes, p.day_probes,
           p.hour_masked, p.day_masked, p.hour_sealed_rows, p.day_sealed_rows
    FROM courier_pii.live_persons() p
         LEFT JOIN courier_pii.staff_register r ON r.staff_no = p.staff_no;

CREATE FUNCTION courier_pii.end_session(pid integer) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_end_session' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.budget', '');

REVOKE ALL ON courier_pii.budget, courier_pii.budgets, courier_pii.stat_session, courier_pii.stat_person FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.set_budget(regrole, text, bigint, bigint, bigint),
    courier_pii.live_sessions(), courier_pii.live_persons(), courier_pii.client_sessions(),
    courier_pii.end_session(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.set_budget(regrole, text, bigint, bigint, bigint),
    courier_pii.end_session(integer) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.live_sessions(), courier_pii.live_persons(), courier_pii.client_sessions()
    TO pii_security_admin, pii_auditor;
GRANT SELECT ON courier_pii.budgets, courier_pii.stat_session, courier_pii.stat_person TO pii_security_admin, pii_auditor;

COMMENT ON TABLE courier_pii.budget IS 'limits on searches, masked values and sealed rows by role';
COMMENT ON VIEW courier_pii.budgets IS 'all limits by role and budget';
COMMENT ON VIEW courier_pii.stat_session IS 'live sessions: who takes how much right now';
COMMENT ON VIEW courier_pii.stat_person IS 'what each person took in the last hour and day, over all sessions';
COMMENT ON FUNCTION courier_pii.set_budget(regrole, text, bigint, bigint, bigint) IS 'how many searches, masked values or sealed rows the members of a role may take; null is no limit';
COMMENT ON FUNCTION courier_pii.live_sessions() IS 'counters of the sessions, from shared memory';
COMMENT ON FUNCTION courier_pii.live_persons() IS 'counters of the persons, from shared memory';
COMMENT ON FUNCTION courier_pii.client_sessions() IS 'sessions of clients, for those whose duty it is to watch them';
COMMENT ON FUNCTION courier_pii.end_session(integer) IS 'end a session; false when there is none';
