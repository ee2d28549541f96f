# courier_pii: PGXS build.
#
# The install script is concatenated from schema/*.sql in the order listed
# here; nothing is picked up by wildcard.  The version is written only in the
# control file.

PG_CONFIG ?= pg_config

EXTENSION = courier_pii
MODULE_big = courier_pii
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" courier_pii.control)

OBJS = \
	src/courier_pii.o \
	src/base/background.o \
	src/base/base64url.o \
	src/base/hex.o \
	src/base/internal.o \
	src/base/json.o \
	src/base/secret.o \
	src/base/session.o \
	src/base/settings.o \
	src/base/shmem.o \
	src/base/snapshot.o \
	src/base/ticket.o \
	src/base/transaction.o \
	src/crypto/agent.o \
	src/crypto/agent_watch.o \
	src/crypto/channel.o \
	src/crypto/cipher.o \
	src/crypto/custodians.o \
	src/crypto/cms.o \
	src/crypto/custody.o \
	src/crypto/custody_command.o \
	src/crypto/epoch_table.o \
	src/crypto/gcm.o \
	src/crypto/handover.o \
	src/crypto/keyring.o \
	src/crypto/keyring_ask.o \
	src/crypto/keyring_mac.o \
	src/crypto/keystore.o \
	src/crypto/keystore_file.o \
	src/crypto/locked.o \
	src/crypto/mac.o \
	src/crypto/nonce.o \
	src/crypto/secret_file.o \
	src/crypto/shamir.o \
	src/crypto/signature.o \
	src/crypto/store_watch.o \
	src/crypto/vault.o \
	src/crypto/vault_epoch.o \
	src/crypto/wrap.o \
	src/sealed/custom_class.o \
	src/sealed/envelope.o \
	src/sealed/normalise.o \
	src/sealed/oids.o \
	src/sealed/operators.o \
	src/sealed/seal.o \
	src/sealed/search.o \
	src/sealed/search_key.o \
	src/sealed/search_tag.o \
	src/sealed/tail.o \
	src/sealed/type_io.o \
	src/mask/account_no.o \
	src/mask/address.o \
	src/mask/email.o \
	src/mask/id_number.o \
	src/mask/item.o \
	src/mask/mask.o \
	src/mask/person_name.o \
	src/mask/phone.o \
	src/mask/phone_number.o \
	src/mask/profile.o \
	src/mask/region.o \
	src/mask/region_index.o \
	src/mask/text.o \
	src/mask/unit_name.o \
	src/mask/utf8.o \
	src/mask/waybill_no.o \
	src/audit/chain.o \
	src/audit/chain_hash.o \
	src/audit/checkpoint.o \
	src/audit/inflight.o \
	src/audit/ingest.o \
	src/audit/key_taken.o \
	src/audit/partition.o \
	src/audit/ratchet.o \
	src/audit/record.o \
	src/audit/redact.o \
	src/audit/refused.o \
	src/audit/segment.o \
	src/audit/ship.o \
	src/audit/spool.o \
	src/audit/spool_flush.o \
	src/audit/spool_key.o \
	src/audit/spool_room.o \
	src/audit/statement.o \
	src/audit/retention.o \
	src/audit/alert.o \
	src/audit/extract.o \
	src/audit/monitor.o \
	src/audit/sealed_case.o \
	src/audit/subject.o \
	src/audit/syslog.o \
	src/audit/undone.o \
	src/audit/verify.o \
	src/audit/walk.o \
	src/audit/verify_outside.o \
	src/audit/verify_rows.o \
	src/audit/verify_spool.o \
	src/audit/worker.o \
	src/policy/canary.o \
	src/policy/catalog.o \
	src/policy/column_job.o \
	src/policy/column_order.o \
	src/policy/column_wipe.o \
	src/policy/condition.o \
	src/policy/create_class.o \
	src/policy/direct_read.o \
	src/policy/disclosure.o \
	src/policy/foreign_code.o \
	src/policy/freeze.o \
	src/policy/gate.o \
	src/policy/exposure.o \
	src/policy/index_rebuild.o \
	src/policy/job_batches.o \
	src/policy/job_update.o \
	src/policy/key_command.o \
	src/policy/lift.o \
	src/policy/limits.o \
	src/policy/lift_barrier.o \
	src/policy/lift_search.o \
	src/policy/lift_with.o \
	src/policy/lift_write.o \
	src/policy/masked_view.o \
	src/policy/masked_write.o \
	src/policy/matrix.o \
	src/policy/plan_roles.o \
	src/policy/pure_query.o \
	src/policy/probe.o \
	src/policy/protect.o \
	src/policy/protect_check.o \
	src/policy/protect_group.o \
	src/policy/protect_keys.o \
	src/policy/protect_online.o \
	src/policy/protect_swap.o \
	src/policy/protect_swap_index.o \
	src/policy/relation.o \
	src/policy/reseal.o \
	src/policy/unprotect.o \
	src/policy/row_rule.o \
	src/policy/rule_names.o \
	src/policy/search_params.o \
	src/policy/show.o \
	src/policy/suspect_text.o \
	src/policy/table_lock.o \
	src/policy/throttle.o \
	src/policy/shown_cache.o \
	src/policy/trust.o \
	src/policy/starter.o \
	src/policy/starter_rules.o \
	src/policy/view_calls.o \
	src/policy/view_follow.o \
	src/policy/view_rebuild.o \
	src/policy/view_upsert.o \
	src/guard/access.o \
	src/guard/account.o \
	src/guard/backup.o \
	src/guard/copy.o \
	src/guard/destroy.o \
	src/guard/escape.o \
	src/guard/examined.o \
	src/guard/forbidden.o \
	src/guard/maintenance.o \
	src/guard/budget.o \
	src/guard/gate.o \
	src/guard/live.o \
	src/guard/log_hygiene.o \
	src/guard/meter.o \
	src/guard/outflow.o \
	src/guard/object_hook.o \
	src/guard/plan_hook.o \
	src/guard/plan_mark.o \
	src/guard/replication.o \
	src/guard/spill.o \
	src/guard/spill_plan.o \
	src/guard/spill_store.o \
	src/guard/leak_mark.o \
	src/guard/package.o \
	src/guard/prepared.o \
	src/guard/purge.o \
	src/guard/start_hook.o \
	src/guard/statement_hooks.o \
	src/guard/ticket.o \
	src/guard/ticket_decide.o \
	src/guard/ticket_file.o \
	src/guard/ticket_level.o \
	src/guard/ticket_look.o \
	src/guard/ticket_state.o \
	src/guard/ticket_use.o \
	src/guard/trojan.o \
	src/guard/utility_hook.o \
	src/guard/watch.o \
	src/guard/window.o \
	src/guard/window_slices.o \
	src/people/actor.o \
	src/people/actor_key.o \
	src/people/actor_token.o \
	src/people/appoint.o \
	src/people/duty.o \
	src/people/seal_duties.o \
	src/people/feed.o \
	src/people/feed_apply.o \
	src/people/feed_judge.o \
	src/people/envelope_close.o \
	src/people/envelope_open.o \
	src/people/feed_order.o \
	src/people/guess.o \
	src/people/held_account.o \
	src/people/held_room.o \
	src/people/joint_password.o \
	src/people/last_administrator.o \
	src/people/leaver.o \
	src/people/lockout.o \
	src/people/login_hook.o \
	src/people/login_rule.o \
	src/people/membership.o \
	src/people/password.o \
	src/people/password_change.o \
	src/people/password_gate.o \
	src/people/password_register.o \
	src/people/password_rule.o \
	src/people/password_scrub.o \
	src/people/person.o \
	src/people/pool.o \
	src/people/register.o \
	src/people/posture.o \
	src/people/report.o \
	src/people/roster.o \
	src/people/roster_table.o \
	src/people/roster_change.o \
	src/people/roster_file.o \
	src/people/roster_read.o \
	src/people/sealed_account.o \
	src/people/sealed_share.o \
	src/people/set_actor.o \
	src/people/standby.o

SCHEMA_PARTS = \
	schema/00_preamble.sql \
	schema/10_type.sql \
	schema/20_policy.sql \
	schema/21_custom_class.sql \
	schema/25_keys.sql \
	schema/22_starter_policy.sql \
	schema/30_protect.sql \
	schema/32_view_refresh.sql \
	schema/34_exposure.sql \
	schema/32_protect_online.sql \
	schema/33_reseal.sql \
	schema/40_people.sql \
	schema/41_leavers.sql \
	schema/42_feed.sql \
	schema/43_passwords.sql \
	schema/44_duties.sql \
	schema/44_pool.sql \
	schema/45_actor.sql \
	schema/46_gate.sql \
	schema/47_trust.sql \
	schema/50_audit.sql \
	schema/51_audit_proof.sql \
	schema/52_audit_ship.sql \
	schema/53_audit_reading.sql \
	schema/54_alerts.sql \
	schema/60_guard.sql \
	schema/61_freeze.sql \
	schema/62_tickets.sql \
	schema/63_destroy.sql \
	schema/64_maintenance.sql \
	schema/66_envelopes.sql \
	schema/65_posture.sql \
	schema/64_export.sql \
	schema/80_grants.sql \
	schema/90_config_dump.sql \
	schema/95_comments.sql

DATA_built = courier_pii--$(EXTVERSION).sql
PG_CPPFLAGS = -I$(shell $(PG_CONFIG) --includedir) -I$(CURDIR)/src -DCOURIER_PII_VERSION=\"$(EXTVERSION)\"
# headers of 15 declare functions without their parameters, which C23 forbids
PG_CFLAGS = -fvisibility=hidden $(if $(filter 15,$(MAJORVERSION)),-std=gnu17) $(CPII_CFLAGS)
SHLIB_LINK = -lcrypto -lpq -lpthread

REGRESS = \
	01_type \
	02_search \
	03_disclosure \
	04_protect \
	05_masked_view \
	06_row_rule \
	07_write \
	08_limit \
	09_audit_sql \
	10_people \
	11_actor \
	12_gate \
	21_custom_class \
	13_trojan \
	22_starter_policy \
	31_cut_key \
	32_view_refresh \
	33_view_write \
	34_exposure \
	35_view_plans \
	34_protect_online \
	35_reseal \
	37_compact_index 38_protect_parts 39_protect_keys \
	62_tickets \
	63_destroy \
	44_duties \
	64_disclosure_ticket \
	53_audit_reading \
	54_alerts \
	60_meter \
	61_freeze \
	65_purge \
	66_pure_plan \
	67_shown_memory 68_foreign_code \
	66_envelopes \
	36_tail_view \
	99_privileges
ISOLATION = policy_change write_conflict index_writers key_group
REGRESS_OPTS = --load-extension=pgcrypto --load-extension=courier_pii

EXTRA_CLEAN = courier_pii--*.sql test/unit/build test/fuzz/build tmp_check output_iso

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*/*.h)

courier_pii--$(EXTVERSION).sql: $(SCHEMA_PARTS) courier_pii.control
	cat $(SCHEMA_PARTS) > $@
