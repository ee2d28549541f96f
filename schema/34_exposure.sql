-- The advisor: who reaches protected tables directly, and what looks like
-- personal data but is not protected.

CREATE FUNCTION courier_pii.suspect_class(col name) RETURNS text
    AS 'MODULE_PATHNAME', 'cpii_suspect_class' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION courier_pii.suspect_class(name) IS 'the class of personal data that a column name suggests';
REVOKE EXECUTE ON FUNCTION courier_pii.suspect_class(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.suspect_class(name) TO pii_security_admin, pii_auditor;

CREATE FUNCTION courier_pii.find_suspects(sample_rows integer DEFAULT 200, OUT tbl regclass, OUT col name, OUT type text,
        OUT class text, OUT evidence text, OUT share integer, OUT sampled integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'cpii_find_suspects' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.find_suspects(integer) IS 'plain columns that look like personal data, by name and by a sample of their values';
REVOKE EXECUTE ON FUNCTION courier_pii.find_suspects(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.find_suspects(integer) TO pii_security_admin, pii_auditor;

CREATE VIEW courier_pii.suspects AS
    SELECT s.tbl, s.col, s.type, s.class, s.evidence, s.share, s.sampled FROM courier_pii.find_suspects() s;
COMMENT ON VIEW courier_pii.suspects IS 'plain columns that look like personal data, from a sample of 200 rows a table';
REVOKE ALL ON courier_pii.suspects FROM PUBLIC;
GRANT SELECT ON courier_pii.suspects TO pii_security_admin, pii_auditor;

CREATE VIEW courier_pii.exposure AS
WITH base AS (
    SELECT c.oid, c.relname, c.relnamespace, c.relowner, c.relacl, c.relkind
    FROM pg_catalog.pg_class c
    WHERE c.relkind IN ('r', 'p', 'm')
      AND c.relnamespace OPERATOR(pg_catalog.<>) 'courier_pii'::pg_catalog.regnamespace
      AND EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
                  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
                  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
                    AND (t.oid OPERATOR(pg_catalog.=) 'courier_pii.sealed'::pg_catalog.regtype
                         OR t.typbasetype OPERATOR(pg_catalog.=) 'courier_pii.sealed'::pg_catalog.regtype))
)
SELECT 'owner' AS kind, b.oid::pg_catalog.regclass AS tbl, NULL::pg_catalog.name AS col,
       pg_catalog.pg_get_userbyid(b.relowner) AS grantee, 'ALL' AS privilege, NULL::pg_catalog.text AS class,
       CASE WHEN r.rolsuper THEN 'superuser' WHEN r.rolcanlogin THEN 'a login role: whoever uses it changes structure and rights'
            ELSE 'a role without login' END AS detail
FROM base b JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) b.relowner
UNION ALL
SELECT 'table privilege', b.oid::pg_catalog.regclass, NULL,
       CASE WHEN x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'::pg_catalog.name ELSE pg_catalog.pg_get_userbyid(x.grantee) END,
       x.privilege_type, NULL, 'past the masked view: row rules do not bind, values are sealed'
FROM base b, LATERAL pg_catalog.aclexplode(b.relacl) x
WHERE x.grantee OPERATOR(pg_catalog.<>) b.relowner
UNION ALL
SELECT 'column privilege', b.oid::pg_catalog.regclass, a.attname,
       CASE WHEN x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'::pg_catalog.name ELSE pg_catalog.pg_get_userbyid(x.grantee) END,
       x.privilege_type, NULL, 'past the masked view: row rules do not bind, values are sealed'
FROM base b JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) b.oid AND NOT a.attisdropped,
     LATERAL pg_catalog.aclexplode(a.attacl) x
WHERE x.grantee OPERATOR(pg_catalog.<>) b.relowner
UNION ALL
SELECT 'default privilege', NULL, NULL,
       CASE WHEN x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'::pg_catalog.name ELSE pg_catalog.pg_get_userbyid(x.grantee) END,
       x.privilege_type, NULL,
       pg_catalog.concat('on new tables of ', pg_catalog.pg_get_userbyid(d.defaclrole),
           CASE WHEN d.defaclnamespace OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                THEN pg_catalog.concat(' in schema ', d.defaclnamespace::pg_catalog.regnamespace) END)
FROM pg_catalog.pg_default_acl d, LATERAL pg_catalog.aclexplode(d.defaclacl) x
WHERE d.defaclobjtype OPERATOR(pg_catalog.=) 'r' AND x.grantee OPERATOR(pg_catalog.<>) d.defaclrole
  AND EXISTS (SELECT 1 FROM base b WHERE b.relowner OPERATOR(pg_catalog.=) d.defaclrole
              AND (d.defaclnamespace OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR d.defaclnamespace OPERATOR(pg_catalog.=) b.relnamespace))
UNION ALL
SELECT 'predefined role', NULL, NULL, pg_catalog.pg_get_userbyid(m.member), NULL, NULL,
       pg_catalog.concat('member of ', pg_catalog.pg_get_userbyid(m.roleid))
FROM (SELECT DISTINCT roleid, member FROM pg_catalog.pg_auth_members) m
WHERE pg_catalog.pg_get_userbyid(m.roleid) OPERATOR(pg_catalog.=) ANY (ARRAY['pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program',
      'pg_read_server_files', 'pg_write_server_files', 'pg_maintain']::pg_catalog.name[])
UNION ALL
SELECT DISTINCT 'view', w.ev_class::pg_catalog.regclass, NULL::pg_catalog.name, pg_catalog.pg_get_userbyid(v.relowner), NULL, NULL,
       pg_catalog.concat('reads ', b.oid::pg_catalog.regclass, ' with the rights of its owner')
FROM base b
JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) b.oid
     AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) w.ev_class AND v.relkind IN ('v', 'm')
WHERE NOT EXISTS (SELECT 1 FROM courier_pii.masked_view_register g WHERE g.view OPERATOR(pg_catalog.=) v.oid)
UNION ALL
SELECT 'publication', b.oid::pg_catalog.regclass, NULL, pg_catalog.pg_get_userbyid(p.pubowner), NULL, NULL,
       pg_catalog.concat('published by ', p.pubname)
FROM base b JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) b.relnamespace
JOIN pg_catalog.pg_publication_tables t ON t.schemaname OPERATOR(pg_catalog.=) n.nspname AND t.tablename OPERATOR(pg_catalog.=) b.relname
JOIN pg_catalog.pg_publication p ON p.pubname OPERATOR(pg_catalog.=) t.pubname
UNION ALL
SELECT 'plain column', c.oid::pg_catalog.regclass, a.attname, NULL, NULL, courier_pii.suspect_class(a.attname),
       CASE WHEN EXISTS (SELECT 1 FROM base b WHERE b.oid OPERATOR(pg_catalog.=) c.oid) THEN 'in a table with protected columns'
            ELSE 'in a table without protected columns' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
  AND c.relnamespace OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'courier_pii']::pg_catalog.regnamespace[]::pg_catalog.oid[])
  AND (t.typcategory OPERATOR(pg_catalog.=) 'S' OR t.typbasetype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
       OR t.oid OPERATOR(pg_catalog.=) ANY (ARRAY['bigint', 'numeric', 'json', 'jsonb', 'text[]', 'character varying[]']::pg_catalog.regtype[]::pg_catalog.oid[]))
  AND t.oid OPERATOR(pg_catalog.<>) 'courier_pii.sealed'::pg_catalog.regtype
  AND t.typbasetype OPERATOR(pg_catalog.<>) 'courier_pii.sealed'::pg_catalog.regtype
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
  AND courier_pii.suspect_class(a.attname) IS NOT NULL;
COMMENT ON VIEW courier_pii.exposure IS 'who holds which privilege on a protected base table, and plain columns whose names look like personal data';
REVOKE ALL ON courier_pii.exposure FROM PUBLIC;
GRANT SELECT ON courier_pii.exposure TO pii_security_admin, pii_auditor;
