/*-------------------------------------------------------------------------
 *
 * ticket_file.h
 *	  The file that remembers which tickets were used or revoked.
 *
 * A ticket is used before its act begins, and stays used whatever becomes of
 * the transaction, the session or the server.  So the mark is no row of a
 * table: it is appended to the file courier_pii_tickets of the audit directory
 * and flushed to disk before the call returns.
 *
 * The file is a list of marks of CPII_TICKET_MARK_SIZE bytes: ticket number 8,
 * time 8 (microseconds since 2000), kind of mark 4, crc32c 4 (of the other
 * fields), first 24 bytes of the ticket's digest; numbers big endian.  A mark
 * that was cut off by a crash is no mark: its act never began.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TICKET_FILE_H
#define CPII_TICKET_FILE_H

#include "datatype/timestamp.h"

#define CPII_TICKET_MARK_SIZE 48
#define CPII_TICKET_DIGEST_PART 24

typedef enum CpiiMarkKind
{
	CPII_MARK_USED = 1,
	CPII_MARK_REVOKED,
	CPII_MARK_COMMITTED,		/* how the transaction of the use ended */
	CPII_MARK_ROLLED_BACK
} CpiiMarkKind;

/* what the file says of one ticket */
typedef struct CpiiTicketMarks
{
	TimestampTz used_at;		/* 0 = not used */
	TimestampTz revoked_at;		/* 0 = not revoked */
	int			ended;			/* CPII_MARK_COMMITTED, _ROLLED_BACK or 0 */
} CpiiTicketMarks;

/* raises when the file cannot be read; a missing file has no marks */
extern void cpii_ticket_file_look(int64 id, const unsigned char *digest,
								  CpiiTicketMarks *marks);

/*
 * Mark a ticket as used, on disk when this returns.  False, with nothing
 * written, when it was used or revoked before (marks then say which).  Of
 * several sessions that try at once, one gets true.  Raises when the mark
 * cannot be stored.
 */
extern bool cpii_ticket_file_use(int64 id, const unsigned char *digest,
								 CpiiTicketMarks *marks);

/* mark a ticket as revoked, on disk when this returns; raises on failure */
extern void cpii_ticket_file_revoke(int64 id, const unsigned char *digest);

/* note how the transaction of a use ended; never raises */
extern void cpii_ticket_file_ended(int64 id, const unsigned char *digest,
								   CpiiMarkKind kind);

extern void cpii_ticket_file_init(void);

#endif							/* CPII_TICKET_FILE_H */
