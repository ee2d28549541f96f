-- The sealed type, its operators, operator classes, casts and domains.

CREATE TYPE courier_pii.sealed;

CREATE FUNCTION courier_pii.sealed_in(cstring, oid, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_sealed_in' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.sealed_out(courier_pii.sealed) RETURNS cstring
    AS 'MODULE_PATHNAME', 'cpii_sealed_out' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_recv(internal, oid, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_sealed_recv' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.sealed_send(courier_pii.sealed) RETURNS bytea
    AS 'MODULE_PATHNAME', 'cpii_sealed_send' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_sealed_typmod_in' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_typmod_out(integer) RETURNS cstring
    AS 'MODULE_PATHNAME', 'cpii_sealed_typmod_out' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE courier_pii.sealed (
    INPUT = courier_pii.sealed_in,
    OUTPUT = courier_pii.sealed_out,
    RECEIVE = courier_pii.sealed_recv,
    SEND = courier_pii.sealed_send,
    TYPMOD_IN = courier_pii.sealed_typmod_in,
    TYPMOD_OUT = courier_pii.sealed_typmod_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external,
    CATEGORY = 'U'
);

-- coercions: a token or a text becomes a value of the column's class
CREATE FUNCTION courier_pii.sealed_coerce(courier_pii.sealed, integer, boolean) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_sealed_coerce' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.seal(text, integer, boolean) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_seal_text' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.seal(character, integer, boolean) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_seal_bpchar' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.seal_existing(text, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_seal_existing' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE CAST (courier_pii.sealed AS courier_pii.sealed)
    WITH FUNCTION courier_pii.sealed_coerce(courier_pii.sealed, integer, boolean) AS IMPLICIT;
CREATE CAST (text AS courier_pii.sealed)
    WITH FUNCTION courier_pii.seal(text, integer, boolean) AS ASSIGNMENT;
CREATE CAST (character varying AS courier_pii.sealed)
    WITH FUNCTION courier_pii.seal(text, integer, boolean) AS ASSIGNMENT;
CREATE CAST (character AS courier_pii.sealed)
    WITH FUNCTION courier_pii.seal(character, integer, boolean) AS ASSIGNMENT;

-- search keys: the other side of an equality, permission checked and metered
CREATE FUNCTION courier_pii.search_key(courier_pii.sealed, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_search_key_sealed' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.search_key(text, integer, boolean) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_search_key_text' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.search_keys(courier_pii.sealed[], integer) RETURNS courier_pii.sealed[]
    AS 'MODULE_PATHNAME', 'cpii_search_keys_sealed' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION courier_pii.search_keys(text[], integer, boolean) RETURNS courier_pii.sealed[]
    AS 'MODULE_PATHNAME', 'cpii_search_keys_text' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;

CREATE FUNCTION courier_pii.sealed_eq_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'cpii_sealed_eq_support' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_eqsel(internal, oid, internal, integer) RETURNS double precision
    AS 'MODULE_PATHNAME', 'cpii_sealed_eqsel' LANGUAGE c STABLE STRICT PARALLEL SAFE;

-- comparison; "=" and "<>" live in pg_catalog so that any search_path finds them
CREATE FUNCTION courier_pii.sealed_eq(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_eq' LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_ne(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_ne' LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_eq(courier_pii.sealed, text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_eq_text' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_ne(courier_pii.sealed, text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_ne_text' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_eq(text, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_text_eq_sealed' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_ne(text, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_text_ne_sealed' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
    SUPPORT courier_pii.sealed_eq_support;
CREATE FUNCTION courier_pii.sealed_lt(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_lt' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_le(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_le' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_gt(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_gt' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_ge(courier_pii.sealed, courier_pii.sealed) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_sealed_ge' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_cmp(courier_pii.sealed, courier_pii.sealed) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_sealed_cmp' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_hash(courier_pii.sealed) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_sealed_hash' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.sealed_hash_extended(courier_pii.sealed, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'cpii_sealed_hash_extended' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE OPERATOR pg_catalog.= (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed,
    FUNCTION = courier_pii.sealed_eq, COMMUTATOR = OPERATOR(pg_catalog.=),
    NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = courier_pii.sealed_eqsel, JOIN = pg_catalog.eqjoinsel,
    HASHES, MERGES
);
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed,
    FUNCTION = courier_pii.sealed_ne, COMMUTATOR = OPERATOR(pg_catalog.<>),
    NEGATOR = OPERATOR(pg_catalog.=), JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR pg_catalog.= (
    LEFTARG = courier_pii.sealed, RIGHTARG = text,
    FUNCTION = courier_pii.sealed_eq, COMMUTATOR = OPERATOR(pg_catalog.=),
    NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = courier_pii.sealed_eqsel, JOIN = pg_catalog.eqjoinsel
);
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = courier_pii.sealed, RIGHTARG = text,
    FUNCTION = courier_pii.sealed_ne, COMMUTATOR = OPERATOR(pg_catalog.<>),
    NEGATOR = OPERATOR(pg_catalog.=), JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR pg_catalog.= (
    LEFTARG = text, RIGHTARG = courier_pii.sealed,
    FUNCTION = courier_pii.sealed_eq, COMMUTATOR = OPERATOR(pg_catalog.=),
    NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = courier_pii.sealed_eqsel, JOIN = pg_catalog.eqjoinsel
);
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = text, RIGHTARG = courier_pii.sealed,
    FUNCTION = courier_pii.sealed_ne, COMMUTATOR = OPERATOR(pg_catalog.<>),
    NEGATOR = OPERATOR(pg_catalog.=), JOIN = pg_catalog.neqjoinsel
);

-- btree needs an order: by class and tag, never by clear text, and under names
-- that nobody writes by accident
CREATE OPERATOR courier_pii.<# (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed, FUNCTION = courier_pii.sealed_lt,
    COMMUTATOR = OPERATOR(courier_pii.>#), NEGATOR = OPERATOR(courier_pii.>=#),
    RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
CREATE OPERATOR courier_pii.<=# (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed, FUNCTION = courier_pii.sealed_le,
    COMMUTATOR = OPERATOR(courier_pii.>=#), NEGATOR = OPERATOR(courier_pii.>#),
    RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
CREATE OPERATOR courier_pii.># (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed, FUNCTION = courier_pii.sealed_gt,
    COMMUTATOR = OPERATOR(courier_pii.<#), NEGATOR = OPERATOR(courier_pii.<=#),
    RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
CREATE OPERATOR courier_pii.>=# (
    LEFTARG = courier_pii.sealed, RIGHTARG = courier_pii.sealed, FUNCTION = courier_pii.sealed_ge,
    COMMUTATOR = OPERATOR(courier_pii.<=#), NEGATOR = OPERATOR(courier_pii.<#),
    RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

CREATE OPERATOR FAMILY courier_pii.sealed_ops USING btree;
CREATE OPERATOR CLASS courier_pii.sealed_ops
    DEFAULT FOR TYPE courier_pii.sealed USING btree FAMILY courier_pii.sealed_ops AS
    OPERATOR 1 courier_pii.<#,
    OPERATOR 2 courier_pii.<=#,
    OPERATOR 3 pg_catalog.= (courier_pii.sealed, courier_pii.sealed),
    OPERATOR 4 courier_pii.>=#,
    OPERATOR 5 courier_pii.>#,
    FUNCTION 1 courier_pii.sealed_cmp(courier_pii.sealed, courier_pii.sealed);
CREATE OPERATOR FAMILY courier_pii.sealed_ops USING hash;
CREATE OPERATOR CLASS courier_pii.sealed_ops
    DEFAULT FOR TYPE courier_pii.sealed USING hash FAMILY courier_pii.sealed_ops AS
    OPERATOR 1 pg_catalog.= (courier_pii.sealed, courier_pii.sealed),
    FUNCTION 1 courier_pii.sealed_hash(courier_pii.sealed),
    FUNCTION 2 courier_pii.sealed_hash_extended(courier_pii.sealed, bigint);

-- what "=" compares, to be indexed
CREATE FUNCTION courier_pii.search_tag(courier_pii.sealed) RETURNS bytea
    AS 'MODULE_PATHNAME', 'cpii_search_tag' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.search_tags(courier_pii.sealed[]) RETURNS bytea[]
    AS 'MODULE_PATHNAME', 'cpii_search_tags' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

-- the last four characters, by a keyed tag in the header
CREATE FUNCTION courier_pii.tail4(courier_pii.sealed) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_tail4' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION courier_pii.tail4(shown text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_tail4_text' LANGUAGE c STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION courier_pii.tail4_of(class text, tail text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_tail4_of' LANGUAGE c STABLE STRICT PARALLEL RESTRICTED;

-- the classes
CREATE DOMAIN courier_pii.person_name AS courier_pii.sealed(1);
CREATE DOMAIN courier_pii.phone AS courier_pii.sealed(2);
CREATE DOMAIN courier_pii.address AS courier_pii.sealed(3);
CREATE DOMAIN courier_pii.id_number AS courier_pii.sealed(4);
CREATE DOMAIN courier_pii.unit_name AS courier_pii.sealed(5);
CREATE DOMAIN courier_pii.waybill_no AS courier_pii.sealed(6);
CREATE DOMAIN courier_pii.item AS courier_pii.sealed(7);
CREATE DOMAIN courier_pii.note AS courier_pii.sealed(8);
CREATE DOMAIN courier_pii.email AS courier_pii.sealed(9);
CREATE DOMAIN courier_pii.account_no AS courier_pii.sealed(10);
