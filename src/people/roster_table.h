/*-------------------------------------------------------------------------
 *
 * roster_table.h
 *	  The shared table behind roster.h; private to the people room.
 *
 * Invariants:
 * - An entry is found by role OID, never by name.
 * - Entries change under the table lock in exclusive mode, and every change
 *	 of who may work raises "generation" before the lock is released.
 * - An entry with changes pending keeps its place, so that applying a change
 *	 at commit can never fail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ROSTER_TABLE_H
#define CPII_ROSTER_TABLE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/session.h"

#define ROSTER_CLIENT_LEN 64
#define ROSTER_NETWORKS 8

#define ROSTER_PERSON	0x01	/* somebody of the staff register has it */
#define ROSTER_DENIED	0x02	/* departed or suspended */
#define ROSTER_SERVICE	0x04	/* an application's login, not a person's own */
#define ROSTER_SHARED	0x08	/* may be used from several places at once */
#define ROSTER_MUST_CHANGE	0x10	/* the password must be changed first */
#define ROSTER_HELD		0x20	/* sealed in an envelope, or joint */
#define ROSTER_JOINT	0x40	/* the second person has to be present */
#define ROSTER_ALL_DAYS 0x7F

/* addresses that an account may log in from */
typedef struct RosterNetwork
{
	uint8		family;			/* as in type inet: PGSQL_AF_INET ... */
	uint8		bits;
	uint8		address[16];
} RosterNetwork;

/*
 * What the registers say of one account.  Compared and copied as bytes: fill
 * it with zeros first.
 */
typedef struct RosterFacts
{
	TimestampTz not_after;		/* DT_NOEND: no end */
	TimestampTz password_set;	/* DT_NOBEGIN: not known */
	uint32		flags;
	int16		from_minute;	/* of the day; -1: at any time */
	int16		to_minute;
	uint8		weekdays;		/* bit 0 = Sunday */
	uint8		nnetworks;		/* 0: from anywhere */
	RosterNetwork networks[ROSTER_NETWORKS];
	char		staff_no[CPII_STAFF_NO_LEN];
	char		org[CPII_ORG_LEN];
	char		client[ROSTER_CLIENT_LEN];
} RosterFacts;

typedef struct RosterEntry
{
	Oid			role;
	uint32		pending_deny;	/* uncommitted changes that take the right away */
	uint32		pending_other;	/* other uncommitted changes */
	uint32		round;			/* last rebuild that saw the account */
	uint64		stamp;			/* generation of the last committed change */
	RosterFacts facts;
	TimestampTz last_login;		/* 0: not since this file was made */
} RosterEntry;

typedef struct RosterTable
{
	pg_atomic_uint64 generation;
	/* the latest time that was ever seen, see cpii_roster_now() */
	pg_atomic_uint64 clock_mark;
	pg_atomic_uint64 clock_mark_uptime; /* the machine's uptime then, or 0 */
	pg_atomic_uint32 unsaved;	/* accounts changed since the file was written */
	pg_atomic_uint32 unsaved_logins;	/* likewise times of logins */
	uint32		nslots;			/* a power of two, at least twice capacity */
	uint32		capacity;
	uint32		nentries;
	/* followed by int32 slots[nslots] and RosterEntry entries[capacity] */
} RosterTable;

/* what the registers say of one login role */
typedef struct RosterAccount
{
	Oid			role;
	RosterFacts facts;
} RosterAccount;

/* NULL when the library was not preloaded */
extern RosterTable *cpii_roster_table;
extern LWLock *cpii_roster_lock;	/* the table */
extern LWLock *cpii_roster_file_lock;	/* writing the snapshot file */

/* ---- roster_table.c; the caller holds cpii_roster_lock ---- */
extern RosterEntry *cpii_roster_entries(void);
extern RosterEntry *cpii_roster_find(Oid role);
/* find or create; NULL when the table is full */
extern RosterEntry *cpii_roster_enter(Oid role);
/* set an account's facts; returns whether something changed */
extern bool cpii_roster_set(RosterEntry *entry, const RosterAccount *account);
/* forget roles that are nobody */
extern void cpii_roster_compact(void);
/* how many more roles fit */
extern uint32 cpii_roster_room(void);

/* ---- roster_table.c; takes the lock itself ---- */
/* a copy of what is known of a person's login; false when it is nobody's */
extern bool cpii_roster_person(Oid role, RosterFacts *facts);
extern void cpii_roster_table_init(void);

/* ---- roster.c; takes the lock itself ---- */
/*
 * The time by which deadlines are judged: never earlier than what was seen
 * before, so that a clock set back revives nobody.
 */
extern TimestampTz cpii_roster_now(void);
/* the first of these roles whose account is denied now, or InvalidOid */
extern Oid	cpii_roster_denied(Oid login, Oid session, Oid outer);
/* copy of the person's client code; false when nobody has that login */
extern bool cpii_roster_client(Oid login, char *client);

/* ---- roster_change.c ---- */
/*
 * Change an account in this transaction: a denial is effective at once and
 * withdrawn at abort; everything else becomes effective at commit.
 */
extern void cpii_roster_change(const RosterAccount *account);
/* end the role's sessions when this transaction commits, and nothing else */
extern void cpii_roster_change_end(Oid role);
/* number of denials of this role that this transaction itself has pending */
extern uint32 cpii_roster_own_denials(Oid role);
extern void cpii_roster_change_init(void);

/* cancel the running statements of a role's sessions */
extern void cpii_roster_cancel_statements(Oid role);

/* end the sessions of a role, or with InvalidOid those of every denied role */
extern void cpii_roster_end_sessions(Oid role);

/* ---- roster_read.c ---- */
/*
 * The accounts of one person, or of everybody (NULL), as the registers say.
 * SPI is connected; the result is allocated in the caller's outer context.
 */
extern RosterAccount *cpii_roster_read(const char *staff_no, bool read_only,
									   MemoryContext context, uint64 *count);
/* read a person's accounts and hand them to cpii_roster_change */
extern void cpii_roster_announce(const char *staff_no);
/* the same for one sealed or joint account */
extern void cpii_roster_announce_role(Oid role);

/* the same for every account of which shared memory knows something else */
extern void cpii_roster_announce_all(void);
/* for a standby: rebuild when a register has changed; needs a transaction */
extern void cpii_roster_poll(void);
extern void cpii_roster_read_init(void);

/* ---- standby.c ---- */
extern void cpii_standby_init(void);

/* ---- roster_file.c ---- */
/* called at server start, before anybody else can look */
extern void cpii_roster_file_load(void);
/* hand the locks that the file held to the table of failed logins */
extern void cpii_roster_file_give_locks(void);
/* never raises; returns false (and logs) when the file could not be written */
extern bool cpii_roster_file_save(void);
/* the same at server exit, without locks */
extern void cpii_roster_file_save_at_exit(int code, Datum arg);

#endif							/* CPII_ROSTER_TABLE_H */
