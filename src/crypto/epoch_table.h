/*-------------------------------------------------------------------------
 *
 * epoch_table.h
 *	  What everybody may know of the keys, in shared memory: classes, epochs,
 *	  their states and counters.  Never a key.
 *
 * The key agent alone adds entries and changes states; entries are never moved
 * or removed while the server runs.  Everybody reads without a lock, and takes
 * blocks of a counter by atomic addition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_EPOCH_TABLE_H
#define CPII_EPOCH_TABLE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "crypto/cipher.h"

#define CPII_MAX_EPOCHS 8192
#define CPII_MAX_KEY_CLASSES 512
/* epochs are two bytes of a sealed value */
#define CPII_LAST_EPOCH 65535

/*
 * Random nonces of 96 bits allow 2^32 messages under one key.  At half of that
 * a new epoch is made by itself; at the limit, less what all processes may have
 * taken without telling, sealing stops.
 */
#define CPII_MESSAGES_ROLL ((uint64) 1 << 31)
#define CPII_MESSAGES_LIMIT (((uint64) 1 << 32) - ((uint64) 1 << 22))
/* what a process takes at once, and what the agent writes down at once */
#define CPII_MESSAGE_BLOCK 256
#define CPII_MESSAGE_RESERVE ((uint64) 1 << 20)

typedef enum CpiiEpochState
{
	CPII_EPOCH_ABSENT = 0,		/* not in the key store */
	CPII_EPOCH_ACTIVE,			/* new values are sealed with it */
	CPII_EPOCH_OPEN_ONLY,		/* older values are opened with it */
	CPII_EPOCH_DAMAGED,			/* its file in the key store is damaged */
	CPII_EPOCH_DESTROYED
} CpiiEpochState;

/* how the search tags of an epoch's values are keyed */
typedef enum CpiiTagScope
{
	CPII_TAGS_CLASS = 0,		/* equal texts have equal tags in all epochs */
	CPII_TAGS_EPOCH = 1			/* the tags die with the epoch */
} CpiiTagScope;

typedef struct CpiiEpochEntry
{
	int			class_id;
	int			epoch;
	int			suite;
	int			tag_scope;
	int			tag_digest;
	pg_atomic_uint32 state;
	TimestampTz created_at;
	TimestampTz destroyed_at;	/* 0: not destroyed */
	pg_atomic_uint64 taken;		/* messages sealed, rounded up to blocks */
	pg_atomic_uint64 reserved;	/* at most so many without asking the agent */
} CpiiEpochEntry;

typedef struct CpiiKeyClass
{
	int			class_id;
	pg_atomic_uint32 current;	/* index of its active epoch + 1; 0: none */
} CpiiKeyClass;

typedef enum CpiiAgentState
{
	CPII_AGENT_ABSENT = 0,		/* no process */
	CPII_AGENT_STARTING,		/* fetching the master key */
	CPII_AGENT_READY,
	CPII_AGENT_SEALED			/* runs, without the master key */
} CpiiAgentState;

typedef struct CpiiKeyTable
{
	/* grows whenever keys that processes keep may be void */
	pg_atomic_uint32 generation;
	pg_atomic_uint32 agent_state;
	int			agent_pid;
	int			agent_proc;		/* number of its process entry, -1: none */
	bool		store_read;		/* entries below are those of the key store */
	bool		nobody_rejected;	/* logins of nobody get no keys; the agent's */
	/* identity of the installation; valid when installation_known */
	pg_atomic_uint32 installation_known;
	unsigned char installation[16];
	/* the key store is gone from where it was */
	pg_atomic_uint32 store_lost;
	/* why there is no master key or no key store; two texts without secrets */
	slock_t		reason_lock;
	char		detail[512];
	char		hint[256];
	pg_atomic_uint32 nclasses;
	pg_atomic_uint32 nepochs;
	CpiiKeyClass classes[CPII_MAX_KEY_CLASSES];
	CpiiEpochEntry epochs[CPII_MAX_EPOCHS];
} CpiiKeyTable;

extern CpiiKeyTable *cpii_key_table;

/* NULL when there is no such entry */
extern CpiiEpochEntry *cpii_epoch_find(int class_id, int epoch);
extern CpiiKeyClass *cpii_key_class_find(int class_id);
/* the entry of the class's active epoch, or NULL */
static inline CpiiEpochEntry *
cpii_epoch_current(const CpiiKeyClass *class)
{
	uint32		current = pg_atomic_read_u32((pg_atomic_uint32 *) &class->current);

	return current == 0 ? NULL : &cpii_key_table->epochs[current - 1];
}

/* for the agent: the entry, made when missing; NULL when the table is full */
extern CpiiEpochEntry *cpii_epoch_add(int class_id, int epoch);
/* for the agent: the highest usable epoch of each class becomes its active one */
extern void cpii_epoch_choose_current(int class_id);
/* for the agent: keep why there is no key */
extern void cpii_key_table_reason(const char *detail, const char *hint);
/* palloc'd copies */
extern void cpii_key_table_get_reason(char **detail, char **hint);

extern const char *cpii_key_class_name(int class_id);

extern void cpii_key_table_init(void);

#endif							/* CPII_EPOCH_TABLE_H */
