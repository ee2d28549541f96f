-- Registers that belong to the company and travel with its dumps, each with its
-- sequence.  The registers of part 40 are named there.

SELECT pg_catalog.pg_extension_config_dump('courier_pii.disclosure', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.disclosure_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.disclosure_limit', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.row_rule', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.row_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.masked_view_register', '');
