/*-------------------------------------------------------------------------
 *
 * envelope.h
 *	  One sealed account, as the files about envelopes see it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PEOPLE_ENVELOPE_H
#define CPII_PEOPLE_ENVELOPE_H

#include "fmgr.h"

#include "base/compat.h"
#include "crypto/shamir.h"
#include "crypto/signature.h"

#define CPII_ENVELOPE_SHARES 3
#define CPII_ENVELOPE_THRESHOLD 2

/* a row of courier_pii.sealed_account; lives as long as SPI */
typedef struct CpiiSealedAccount
{
	Oid			role;
	char		role_text[16];
	char	   *name;
	char	   *state;			/* sealed, open, void */
	int64		series;			/* of sealings */
	char	   *series_text;
	char	   *set_id;			/* what the shares of the series say they are of */
	char	   *opener;			/* staff number, while it is open */
	char	   *opening;		/* number of the opening, or "0" */
} CpiiSealedAccount;

/* lock and read it; SPI is connected.  Raises 22023 unless missing_ok */
extern bool cpii_sealed_get(Oid role, CpiiSealedAccount *account, bool missing_ok);

/* the role of argument 0, on a server that can be written to */
extern Oid	cpii_sealed_role_argument(FunctionCallInfo fcinfo);

/* raise 55000 unless the state is "sealed" */
extern void cpii_sealed_require(const CpiiSealedAccount *account);

/* number of a person's share in the present series, 0: no custodian */
extern int	cpii_sealed_share_of(const CpiiSealedAccount *account,
								 const char *staff_no, char **state,
								 char **digest);

/* digest of a share, as the register has it */
extern char *cpii_sealed_digest(const CpiiShare *share);

/* which set the shares of a secret belong to */
extern bool cpii_sealed_set_id(const unsigned char secret[CPII_KEY_LEN],
							   unsigned char set[CPII_SHARE_SET_LEN]);

#endif							/* CPII_PEOPLE_ENVELOPE_H */
