/*-------------------------------------------------------------------------
 *
 * seal.h
 *	  From plaintext to sealed value and back.
 *
 * Plaintext is UTF-8 inside a value whatever the server encoding is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SEAL_H
#define CPII_SEAL_H

#include "base/compat.h"
#include "sealed/envelope.h"

/*
 * Seal UTF-8 text as a value of a class; a palloc'd varlena.  Raises PI004
 * without a key.
 */
extern bytea *cpii_seal_value(int class_id, const char *text, size_t len);

/* seal UTF-8 text as a query token */
extern bytea *cpii_seal_token(const char *text, size_t len);

/*
 * A search key for UTF-8 text; raises 0A000 for a class without search.  epoch:
 * one of cpii_keyring_search_epochs(), or what cpii_keyring_tag_epoch() says of
 * the value to compare with.
 */
extern bytea *cpii_seal_search_key(int class_id, int epoch, const char *text,
								   size_t len);
/* the search keys of all epochs that must be looked for, in a list */
extern struct List *cpii_seal_search_keys(int class_id, const char *text,
										  size_t len);

/* keyed tag of the last four characters of a text, as an int4 */
extern int32 cpii_seal_tail(int class_id, const char *text, size_t len);

/*
 * Open a value or token: palloc'd UTF-8 text (not terminated), to be wiped by
 * the caller.  Raises XX001 for damaged values and PI004 without a key.  This
 * is not the door: only the door (policy/show.c) and the coercion of tokens
 * may call it.
 */
extern char *cpii_open(const CpiiEnvelope *envelope, size_t *len);

/* the same into a buffer of envelope->ciphertextlen bytes */
extern void cpii_open_into(const CpiiEnvelope *envelope, unsigned char *out);

/* the same as a text, for a server encoding of UTF-8 */
extern text *cpii_open_text(const CpiiEnvelope *envelope);

/* the value as stored, or XX001 */
extern void cpii_parse_or_damaged(const bytea *value, CpiiEnvelope *envelope);

pg_noreturn extern void cpii_report_damaged(void);

/* conversions between the server encoding and UTF-8; may return the input */
extern char *cpii_to_utf8(const char *text, size_t len, size_t *outlen);
extern char *cpii_from_utf8(const char *text, size_t len, size_t *outlen);

/*
 * Installed above: a literal is made a value, or a value is searched for.  They
 * count a probe where it is one, check the permission, and may raise.  Texts are
 * UTF-8; nobody may keep them.
 */
typedef void (*CpiiLiteralProbe) (int class_id, const char *text, size_t len);
extern CpiiLiteralProbe cpii_literal_probe_hook;
/* a value that a column holds is sealed while the column is being protected */
typedef void (*CpiiExistingProbe) (int class_id);
extern CpiiExistingProbe cpii_existing_probe_hook;
/*
 * through_view: no exception for superusers who set the database up.  text is
 * NULL when only a part of the value is looked for.
 */
typedef void (*CpiiSearchProbe) (int class_id, bool through_view,
								 const char *text, size_t len);
extern CpiiSearchProbe cpii_search_probe_hook;

/* class number of a name, or 0 */
extern int	cpii_class_by_name(const char *name);

/* 22023 with the list of classes in the hint */
extern int	cpii_class_by_name_or_error(const char *name);

extern const char *cpii_class_name(int class_id);

/* class of a column type (a domain over sealed), or 0 */
extern int	cpii_class_of_type(Oid type, int32 typmod);

/* OID of the base type sealed; InvalidOid when the extension is not there */
extern Oid	cpii_sealed_type(void);

#endif							/* CPII_SEAL_H */
