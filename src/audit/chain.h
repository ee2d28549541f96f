/*-------------------------------------------------------------------------
 *
 * chain.h
 *	  The canonical bytes of an audit record, and the HMAC chain over them.
 *
 * A record is a row of fields in the order of the columns of
 * courier_pii.audit_record.  Its canonical bytes are made of the field values
 * alone, so that they can be computed again from the table (or from an export
 * of it) at any time:
 *
 *	  one byte: format version
 *	  per field, in order, without "seq":
 *		  two bytes: length, big endian; 0xFFFF = NULL
 *		  numbers: eight bytes, big endian, two's complement
 *		  texts: the bytes; lists: per item two bytes length and the bytes
 *
 * Times are microseconds since 1970-01-01 00:00 UTC, durations microseconds;
 * an address or a JSON detail is the text that its type prints.  The hash of a
 * record is HMAC-SHA-256(key, hash of the record before || seq, eight bytes big
 * endian || canonical bytes); before the first record there are 32 zero bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_CHAIN_H
#define CPII_AUDIT_CHAIN_H

#include "access/htup.h"
#include "access/tupdesc.h"

#define CPII_HASH_LEN 32

typedef enum CpiiFieldNo
{
	CPII_F_NODE,
	CPII_F_SEQ,
	CPII_F_AT,
	CPII_F_PHASE,
	CPII_F_ACTION,
	CPII_F_OUTCOME,
	CPII_F_SQLSTATE,
	CPII_F_LOGIN_ROLE,
	CPII_F_SESSION_ROLE,
	CPII_F_CURRENT_ROLE,
	CPII_F_STAFF_NO,
	CPII_F_ACTOR_PROOF,
	CPII_F_CLIENT_ADDR,
	CPII_F_CLIENT_PORT,
	CPII_F_APPLICATION_NAME,
	CPII_F_PID,
	CPII_F_SESSION_STARTED_AT,
	CPII_F_PURPOSE,
	CPII_F_TICKET,
	CPII_F_COMMAND,
	CPII_F_RELATIONS,
	CPII_F_CLASSES,
	CPII_F_ROWS_RETURNED,
	CPII_F_ROWS_EXAMINED,
	CPII_F_DISCLOSED,
	CPII_F_MASKED,
	CPII_F_PROBES,
	CPII_F_QUERY_ID,
	CPII_F_QUERY,
	CPII_F_DURATION,
	CPII_F_DETAIL,
	CPII_N_FIELDS
} CpiiFieldNo;

/* columns of courier_pii.audit_record behind the fields */
#define CPII_COL_PREV_HASH		(CPII_N_FIELDS + 0)
#define CPII_COL_HASH			(CPII_N_FIELDS + 1)
#define CPII_COL_KEY_GENERATION	(CPII_N_FIELDS + 2)
#define CPII_COL_SEGMENT		(CPII_N_FIELDS + 3)
#define CPII_N_COLUMNS			(CPII_N_FIELDS + 4)

/* longest canonical form */
#define CPII_MAX_CANONICAL 65536

typedef struct CpiiField
{
	bool		null;
	int64		number;			/* numbers, times, durations */
	const char *text;			/* texts (no terminator) and encoded lists */
	size_t		length;
} CpiiField;

typedef struct CpiiRow
{
	CpiiField	field[CPII_N_FIELDS];
} CpiiRow;

/* setting fields; the pointers must live as long as the row */
extern void cpii_row_clear(CpiiRow *row);	/* everything NULL */
extern void cpii_row_number(CpiiRow *row, CpiiFieldNo no, int64 value);
extern void cpii_row_text(CpiiRow *row, CpiiFieldNo no, const char *text,
						  size_t max_length);	/* NULL or "" = NULL */

/* append an item to an encoded list of "used" bytes; returns the new length */
extern size_t cpii_list_append(char *list, size_t used, size_t size,
							   const char *item);

/* canonical bytes; returns their number, 0 when they do not fit */
extern size_t cpii_row_encode(const CpiiRow *row, char *buf, size_t size);

/* the reverse, for spool records; fields point into body; false: malformed */
extern bool cpii_row_decode(const char *body, size_t length, CpiiRow *row);

/*
 * Column values of a row (fields only): makes every value acceptable for the
 * database (encoding, JSON, address), never raises for bad data.
 */
extern void cpii_row_to_datums(const CpiiRow *row, Datum *values, bool *nulls);

/* canonical bytes of column values; 0 when they do not fit */
extern size_t cpii_row_encode_datums(const Datum *values, const bool *nulls,
									 char *buf, size_t size);

/* raise unless the relation has the columns that this version expects */
extern void cpii_row_check_columns(TupleDesc tupdesc);

/* ---- hashing ---- */

typedef struct CpiiChain CpiiChain;

/*
 * Get the key and make contexts for a batch; freed with the current memory
 * context at the latest.
 *
 * To write (the worker only): with the key in use, of generation "floor" or
 * later; move_on makes the next one first and erases this one.
 */
extern CpiiChain *cpii_chain_open_writing(int floor, bool move_on);

/* to verify: with the key of any generation, computed from the first one */
extern CpiiChain *cpii_chain_open_verifying(void);
extern void cpii_chain_close(CpiiChain *chain);

/* generation of the key; 0 = no key is available (records are hashed without) */
extern int	cpii_chain_generation(const CpiiChain *chain);

extern void cpii_chain_hash(CpiiChain *chain, int generation,
							const unsigned char *prev_hash, int64 seq,
							const char *canonical, size_t length,
							unsigned char *hash);

#endif							/* CPII_AUDIT_CHAIN_H */
