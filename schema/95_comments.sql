-- What each object is for.  Parts 40 and 50 comment on their own objects; a
-- regression test sees to it that no object of the extension is left out.

COMMENT ON SCHEMA courier_pii IS 'protection of personal data of a courier company';

-- ---- types ----

COMMENT ON TYPE courier_pii.sealed IS 'an encrypted value; its text and binary forms are always the whole envelope, whoever asks';
COMMENT ON DOMAIN courier_pii.person_name IS 'sealed name of a person; searchable';
COMMENT ON DOMAIN courier_pii.phone IS 'sealed telephone number; searchable, also by its last four digits';
COMMENT ON DOMAIN courier_pii.address IS 'sealed address; not searchable';
COMMENT ON DOMAIN courier_pii.id_number IS 'sealed number of an identity document; searchable, hidden unless disclosed';
COMMENT ON DOMAIN courier_pii.unit_name IS 'sealed name of a company or unit; searchable';
COMMENT ON DOMAIN courier_pii.waybill_no IS 'sealed number of a waybill, order or pick-up; searchable, also by its last four characters';
COMMENT ON DOMAIN courier_pii.item IS 'sealed details of an item; not searchable';
COMMENT ON DOMAIN courier_pii.note IS 'sealed remark, message or JSON text; not searchable';
COMMENT ON DOMAIN courier_pii.email IS 'sealed e-mail address; searchable';
COMMENT ON DOMAIN courier_pii.account_no IS 'sealed number of a bank or payment account; searchable';

COMMENT ON FUNCTION courier_pii.sealed_in(cstring, oid, integer) IS 'input of sealed: an envelope is kept byte for byte, other text is sealed';
COMMENT ON FUNCTION courier_pii.sealed_out(courier_pii.sealed) IS 'output of sealed: the envelope';
COMMENT ON FUNCTION courier_pii.sealed_recv(internal, oid, integer) IS 'binary input of sealed';
COMMENT ON FUNCTION courier_pii.sealed_send(courier_pii.sealed) IS 'binary output of sealed: the envelope';
COMMENT ON FUNCTION courier_pii.sealed_typmod_in(cstring[]) IS 'class of a sealed type from its modifier';
COMMENT ON FUNCTION courier_pii.sealed_typmod_out(integer) IS 'modifier of a sealed type: the class number';
COMMENT ON FUNCTION courier_pii.sealed_coerce(courier_pii.sealed, integer, boolean) IS 'makes a value of the column''s class of a query token; refuses a value of another class';
COMMENT ON FUNCTION courier_pii.seal(text, integer, boolean) IS 'seals a text for a column; refuses a text that looks masked';
COMMENT ON FUNCTION courier_pii.seal(character, integer, boolean) IS 'seals a text of type character for a column; refuses a text that looks masked';
COMMENT ON FUNCTION courier_pii.seal_existing(text, integer) IS 'seals what a column already holds while it is being protected; not for general use';

COMMENT ON CAST (courier_pii.sealed AS courier_pii.sealed) IS 'to the class of the column';
COMMENT ON CAST (text AS courier_pii.sealed) IS 'seals on assignment';
COMMENT ON CAST (character varying AS courier_pii.sealed) IS 'seals on assignment';
COMMENT ON CAST (character AS courier_pii.sealed) IS 'seals on assignment';
COMMENT ON CAST (courier_pii.sealed AS text) IS 'the door: what the person who asks may see';
COMMENT ON CAST (courier_pii.sealed AS character varying) IS 'the door: what the person who asks may see';
COMMENT ON CAST (courier_pii.sealed AS character) IS 'the door: what the person who asks may see';

-- ---- comparison ----

COMMENT ON FUNCTION courier_pii.sealed_eq(courier_pii.sealed, courier_pii.sealed) IS 'equal by search tag';
COMMENT ON FUNCTION courier_pii.sealed_ne(courier_pii.sealed, courier_pii.sealed) IS 'not equal by search tag';
COMMENT ON FUNCTION courier_pii.sealed_eq(courier_pii.sealed, text) IS 'search by real value';
COMMENT ON FUNCTION courier_pii.sealed_ne(courier_pii.sealed, text) IS 'search by real value, negated';
COMMENT ON FUNCTION courier_pii.sealed_eq(text, courier_pii.sealed) IS 'search by real value';
COMMENT ON FUNCTION courier_pii.sealed_ne(text, courier_pii.sealed) IS 'search by real value, negated';
COMMENT ON FUNCTION courier_pii.sealed_lt(courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON FUNCTION courier_pii.sealed_le(courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON FUNCTION courier_pii.sealed_gt(courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON FUNCTION courier_pii.sealed_ge(courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON FUNCTION courier_pii.sealed_cmp(courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag: less, equal, greater';
COMMENT ON FUNCTION courier_pii.sealed_hash(courier_pii.sealed) IS 'hash of the search tag';
COMMENT ON FUNCTION courier_pii.sealed_hash_extended(courier_pii.sealed, bigint) IS 'seeded hash of the search tag';
COMMENT ON FUNCTION courier_pii.sealed_eq_support(internal) IS 'planner support: turns a literal into a search key';
COMMENT ON FUNCTION courier_pii.sealed_eqsel(internal, oid, internal, integer) IS 'selectivity of equality, without opening any value';

COMMENT ON OPERATOR pg_catalog.= (courier_pii.sealed, courier_pii.sealed) IS 'equal by search tag';
COMMENT ON OPERATOR pg_catalog.<> (courier_pii.sealed, courier_pii.sealed) IS 'not equal by search tag';
COMMENT ON OPERATOR pg_catalog.= (courier_pii.sealed, text) IS 'search by real value';
COMMENT ON OPERATOR pg_catalog.<> (courier_pii.sealed, text) IS 'search by real value, negated';
COMMENT ON OPERATOR pg_catalog.= (text, courier_pii.sealed) IS 'search by real value';
COMMENT ON OPERATOR pg_catalog.<> (text, courier_pii.sealed) IS 'search by real value, negated';
COMMENT ON OPERATOR courier_pii.<# (courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON OPERATOR courier_pii.<=# (courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON OPERATOR courier_pii.># (courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON OPERATOR courier_pii.>=# (courier_pii.sealed, courier_pii.sealed) IS 'order of class and search tag, for indexes only';
COMMENT ON OPERATOR FAMILY courier_pii.sealed_ops USING btree IS 'equality of sealed values by search tag';
COMMENT ON OPERATOR CLASS courier_pii.sealed_ops USING btree IS 'equality of sealed values by search tag';
COMMENT ON OPERATOR FAMILY courier_pii.sealed_ops USING hash IS 'equality of sealed values by search tag';
COMMENT ON OPERATOR CLASS courier_pii.sealed_ops USING hash IS 'equality of sealed values by search tag';

-- ---- search ----

COMMENT ON FUNCTION courier_pii.search_key(courier_pii.sealed, integer) IS 'the other side of a search: asks for permission, counts a probe';
COMMENT ON FUNCTION courier_pii.search_key(text, integer, boolean) IS 'the other side of a search: asks for permission, counts a probe';
COMMENT ON FUNCTION courier_pii.search_keys(courier_pii.sealed[], integer) IS 'the other side of a search for any of several values: a probe each';
COMMENT ON FUNCTION courier_pii.search_keys(text[], integer, boolean) IS 'the other side of a search for any of several values: a probe each';
COMMENT ON FUNCTION courier_pii.search_tag(courier_pii.sealed) IS 'what "=" compares of a value, to be indexed; NULL where values carry no search tag';
COMMENT ON FUNCTION courier_pii.search_tags(courier_pii.sealed[]) IS 'the same of each element';
COMMENT ON FUNCTION courier_pii.tail4(courier_pii.sealed) IS 'keyed tag of the last four characters, to be indexed';
COMMENT ON FUNCTION courier_pii.tail4(text) IS 'the same for a protected column of a masked view, to be compared with tail4_of()';
COMMENT ON FUNCTION courier_pii.tail4_of(text, text) IS 'what tail4() of values with these last characters is: asks for permission, counts a probe';

-- ---- disclosure ----

COMMENT ON FUNCTION courier_pii.class_name(integer) IS 'name of a class number';
COMMENT ON TABLE courier_pii.disclosure IS 'who is shown what; changed through grant_disclosure and revoke_disclosure only';
COMMENT ON COLUMN courier_pii.disclosure.level IS 'widest first: clear, scoped, label, masked, token, hidden';
COMMENT ON COLUMN courier_pii.disclosure.searchable IS 'may the grantee search by real value; "clear" implies it';
COMMENT ON COLUMN courier_pii.disclosure.tbl IS 'with col: the entry holds for this column only';
COMMENT ON SEQUENCE courier_pii.disclosure_id_seq IS 'numbers of disclosure entries';
COMMENT ON TABLE courier_pii.disclosure_limit IS 'how many clear values a role may be shown; changed through set_limit only';
COMMENT ON COLUMN courier_pii.disclosure_limit.per_statement IS 'clear values in one statement; null means no limit';
COMMENT ON COLUMN courier_pii.disclosure_limit.per_hour IS 'clear values in one hour; null means no limit';
COMMENT ON COLUMN courier_pii.disclosure_limit.per_day IS 'clear values in one day; null means no limit';
COMMENT ON FUNCTION courier_pii.grant_disclosure(regrole, text, text, boolean, timestamptz, regclass, name) IS 'enter at which level a role is shown a class, everywhere or in one column';
COMMENT ON FUNCTION courier_pii.revoke_disclosure(regrole, text, regclass, name) IS 'take the entries of a role for a class away';
COMMENT ON FUNCTION courier_pii.set_limit(regrole, bigint, bigint, bigint) IS 'set how many clear values a role may be shown in a statement, an hour, a day';
COMMENT ON FUNCTION courier_pii.effective_disclosures() IS 'the rows of view courier_pii.effective_disclosures';
COMMENT ON VIEW courier_pii.disclosures IS 'who is shown what';
COMMENT ON VIEW courier_pii.limits IS 'how many clear values a role may be shown';
COMMENT ON VIEW courier_pii.effective_disclosures IS 'what the person who asks is shown, class by class, and why';

-- ---- the door ----

COMMENT ON FUNCTION courier_pii.show(courier_pii.sealed) IS 'the door: what the person who asks may see of a value';
COMMENT ON FUNCTION courier_pii.show_column(courier_pii.sealed, regclass, smallint, boolean) IS 'the door as masked views call it: with the column and the row''s scope';
COMMENT ON FUNCTION courier_pii.show_time(timestamptz, regclass, smallint, boolean, text) IS 'a time, cut to the unit unless class time is disclosed';
COMMENT ON FUNCTION courier_pii.show_timestamp(timestamp, regclass, smallint, boolean, text) IS 'a time without zone, cut to the unit unless class time is disclosed';
COMMENT ON FUNCTION courier_pii.show_date(date, regclass, smallint, boolean, text) IS 'a date, cut to the unit unless class time is disclosed';
COMMENT ON FUNCTION courier_pii.show_region(integer, regclass, smallint, boolean, text) IS 'a region code, cut to the province unless class region is disclosed';
COMMENT ON FUNCTION courier_pii.show_regions(integer[], regclass, smallint, boolean, text) IS 'a path of region codes, cut to the province unless class region is disclosed';
COMMENT ON FUNCTION courier_pii.acts_as(name) IS 'is the person who asks a member of the role, by login and by current role';

-- ---- protecting ----

COMMENT ON TABLE courier_pii.row_rule IS 'which rows a role sees, and in which rows level scoped is clear; changed through set_row_rule and drop_row_rule only';
COMMENT ON COLUMN courier_pii.row_rule.visible IS 'conditions, all of which a row must meet to be seen; an empty list admits every row';
COMMENT ON COLUMN courier_pii.row_rule.scope IS 'conditions, all of which a row must meet to be in scope; an empty list puts no row in scope';
COMMENT ON COLUMN courier_pii.row_rule.scope_columns IS 'columns that the scope holds for; null means all';
COMMENT ON SEQUENCE courier_pii.row_rule_id_seq IS 'numbers of row rules';
COMMENT ON TABLE courier_pii.masked_view_register IS 'masked views and their tables; changed through create_masked_view only';
COMMENT ON FUNCTION courier_pii.protect_column(regclass, name, text, text) IS 'seal an existing column of a table';
COMMENT ON FUNCTION courier_pii.create_masked_view(regclass, name, jsonb, boolean) IS 'make the masked view of a table';
COMMENT ON FUNCTION courier_pii.masked_view_write() IS 'trigger: writes through a masked view';
COMMENT ON FUNCTION courier_pii.set_row_rule(regclass, regrole, name, text[], text[], name[]) IS 'set a row rule of a role on a table';
COMMENT ON FUNCTION courier_pii.drop_row_rule(regclass, regrole, name) IS 'take a row rule away';
COMMENT ON VIEW courier_pii.row_rules IS 'which rows a role sees, and which are in scope';
COMMENT ON VIEW courier_pii.masked_views IS 'masked views and their tables';
COMMENT ON VIEW courier_pii.protected_columns IS 'sealed columns and their classes';
