/*-------------------------------------------------------------------------
 *
 * retention.h
 *	  Months of audit records that were exported, and may then be dropped.
 *
 * A manifest is one line of JSON:
 *
 *	  {"manifest": 1, "installation": hex, "month": "YYYY-MM", "file": name,
 *	   "sha256": hex, "records": n, "runs": [["node", first, last, "previous
 *	   hash", "last hash"], ...], "at": microseconds, "signature": hex}
 *
 * signed (Ed25519) over its bytes before ', "signature"'.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_RETENTION_H
#define CPII_AUDIT_RETENTION_H

#include "audit/chain.h"

/* is the line signed with this key, and untouched? */
extern bool cpii_manifest_signed(const char *manifest, const unsigned char *public_key);

/* body, which begins with '{', signed and closed; PI004 without the key */
extern char *cpii_manifest_sign(const char *body);

/* formats of exported values, until the end of the internal statements */
extern void cpii_manifest_formats(void);

/* a run as it stands in a manifest */
extern char *cpii_manifest_run(const char *node, int64 first_seq, int64 last_seq,
							   const unsigned char *prev_hash,
							   const unsigned char *last_hash);

#endif							/* CPII_AUDIT_RETENTION_H */
