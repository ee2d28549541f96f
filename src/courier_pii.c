/*-------------------------------------------------------------------------
 *
 * courier_pii.c
 *	  Module entry: one init call per room, in layer order; no logic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/transaction.h"
#include "crypto/keyring.h"
#include "guard/guard.h"
#include "mask/mask.h"
#include "people/roster.h"
#include "policy/key_command.h"
#include "policy/freeze.h"
#include "policy/probe.h"

PG_MODULE_MAGIC;

CPII_EXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* not preloaded: types print and compare, everything else refuses */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	cpii_preloaded = true;
	cpii_settings_init();
	cpii_shmem_init();
	cpii_transaction_init();
	cpii_internal_init();
	cpii_session_init();
	cpii_keyring_init();
	cpii_mask_prepare();
	cpii_audit_init();
	cpii_probe_init();
	cpii_freeze_init();
	cpii_key_command_init();
	cpii_people_init();
	cpii_guard_init();
}
