-- ---------------------------------------------------------------------------
-- 21_custom_class.sql: a company's own data classes
-- ---------------------------------------------------------------------------

-- the column order is known to src/sealed/custom_class.c; values of classes
-- with odd numbers carry a search tag
CREATE TABLE courier_pii.custom_class (
    id integer PRIMARY KEY CHECK (id BETWEEN 1000 AND 65535),
    name text NOT NULL UNIQUE,
    mask text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE FUNCTION courier_pii.create_class(name text, mask text DEFAULT 'hidden', search boolean DEFAULT false) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_create_class' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

CREATE VIEW courier_pii.custom_classes AS
    SELECT c.id AS number, c.name AS class, c.mask, c.id OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 1 AS search,
           c.created_by, c.created_at
    FROM courier_pii.custom_class c;

REVOKE EXECUTE ON FUNCTION courier_pii.create_class(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.create_class(text, text, boolean) TO pii_security_admin;
GRANT SELECT ON courier_pii.custom_classes TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.custom_class', '');

COMMENT ON TABLE courier_pii.custom_class IS 'register: data classes of the company';
COMMENT ON FUNCTION courier_pii.create_class(text, text, boolean) IS 'adds a data class of the company and its domain; returns its number';
COMMENT ON VIEW courier_pii.custom_classes IS 'data classes of the company: number, mask, search';
