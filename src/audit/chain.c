/*-------------------------------------------------------------------------
 *
 * chain.c
 *	  The canonical bytes of an audit record, and the HMAC chain over them.
 *
 * Ingest turns a spool record into column values, turns those back into a row
 * and hashes the canonical bytes of that row.  So what is hashed is what the
 * table can give back, whatever a column type does to a value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/ratchet.h"
#include "audit/spool.h"
#include "base/errcodes.h"
#include "base/secret.h"
#include "crypto/cipher.h"

#define ROW_VERSION 1
#define NULL_LENGTH 0xFFFF
#define MAX_JSON_TEXT 32768

typedef enum FieldKind
{
	KIND_TEXT,
	KIND_INT4,
	KIND_INT8,
	KIND_TIME,
	KIND_INTERVAL,
	KIND_INET,
	KIND_JSON,
	KIND_LIST
} FieldKind;

static const FieldKind kinds[CPII_N_FIELDS] = {
	[CPII_F_SEQ] = KIND_INT8,
	[CPII_F_AT] = KIND_TIME,
	[CPII_F_CLIENT_ADDR] = KIND_INET,
	[CPII_F_CLIENT_PORT] = KIND_INT4,
	[CPII_F_PID] = KIND_INT4,
	[CPII_F_SESSION_STARTED_AT] = KIND_TIME,
	[CPII_F_RELATIONS] = KIND_LIST,
	[CPII_F_CLASSES] = KIND_LIST,
	[CPII_F_ROWS_RETURNED] = KIND_INT8,
	[CPII_F_ROWS_EXAMINED] = KIND_INT8,
	[CPII_F_DISCLOSED] = KIND_INT8,
	[CPII_F_MASKED] = KIND_INT8,
	[CPII_F_PROBES] = KIND_INT8,
	[CPII_F_QUERY_ID] = KIND_INT8,
	[CPII_F_DURATION] = KIND_INTERVAL,
	[CPII_F_DETAIL] = KIND_JSON,
};								/* every other field is KIND_TEXT */

static const Oid kind_types[] = {
	[KIND_TEXT] = TEXTOID,
	[KIND_INT4] = INT4OID,
	[KIND_INT8] = INT8OID,
	[KIND_TIME] = TIMESTAMPTZOID,
	[KIND_INTERVAL] = INTERVALOID,
	[KIND_INET] = INETOID,
	[KIND_JSON] = JSONBOID,
	[KIND_LIST] = TEXTARRAYOID,
};

static inline bool
is_number(int no)
{
	return kinds[no] == KIND_INT4 || kinds[no] == KIND_INT8 ||
		kinds[no] == KIND_TIME || kinds[no] == KIND_INTERVAL;
}

/* ---- rows ---- */

void
cpii_row_clear(CpiiRow *row)
{
	for (int no = 0; no < CPII_N_FIELDS; no++)
	{
		row->field[no].null = true;
		row->field[no].number = 0;
		row->field[no].text = NULL;
		row->field[no].length = 0;
	}
}

void
cpii_row_number(CpiiRow *row, CpiiFieldNo no, int64 value)
{
	row->field[no].null = false;
	row->field[no].number = value;
}

void
cpii_row_text(CpiiRow *row, CpiiFieldNo no, const char *text,
			  size_t max_length)
{
	row->field[no].null = (text == NULL || text[0] == '\0');
	row->field[no].text = text;
	row->field[no].length = row->field[no].null ? 0 : strnlen(text, max_length);
}

static size_t
list_append(char *list, size_t used, size_t size, const char *item,
			size_t length)
{
	if (length > 1024 || used + 2 + length > size)
		return used;
	list[used++] = (char) (length >> 8);
	list[used++] = (char) (length & 0xFF);
	memcpy(list + used, item, length);
	return used + length;
}

size_t
cpii_list_append(char *list, size_t used, size_t size, const char *item)
{
	return list_append(list, used, size, item, strlen(item));
}

/* the item at *pos, which moves on; false at the end */
static bool
list_next(const CpiiField *list, size_t *pos, const char **item,
		  size_t *length)
{
	const unsigned char *p = (const unsigned char *) list->text + *pos;

	if (*pos + 2 > list->length)
		return false;
	*length = ((size_t) p[0] << 8) | p[1];
	if (*pos + 2 + *length > list->length)
		return false;
	*item = list->text + *pos + 2;
	*pos += 2 + *length;
	return true;
}

size_t
cpii_row_encode(const CpiiRow *row, char *buf, size_t size)
{
	size_t		used = 0;

	if (size < 1)
		return 0;
	buf[used++] = ROW_VERSION;
	for (int no = 0; no < CPII_N_FIELDS; no++)
	{
		const CpiiField *f = &row->field[no];
		size_t		length = f->null ? 0 : is_number(no) ? 8 : f->length;
		size_t		mark = f->null ? NULL_LENGTH : length;

		if (no == CPII_F_SEQ)
			continue;
		if (length >= NULL_LENGTH || used + 2 + length > size)
			return 0;
		buf[used++] = (char) (mark >> 8);
		buf[used++] = (char) (mark & 0xFF);
		if (length == 0)
			continue;
		if (is_number(no))
		{
			uint64		n = pg_hton64((uint64) f->number);

			memcpy(buf + used, &n, 8);
		}
		else
			memcpy(buf + used, f->text, length);
		used += length;
	}
	return used;
}

bool
cpii_row_decode(const char *body, size_t length, CpiiRow *row)
{
	size_t		pos = 1;

	cpii_row_clear(row);
	if (length < 1 || body[0] != ROW_VERSION)
		return false;
	for (int no = 0; no < CPII_N_FIELDS; no++)
	{
		CpiiField  *f = &row->field[no];
		size_t		mark;

		if (no == CPII_F_SEQ)
			continue;
		if (pos + 2 > length)
			return false;
		mark = ((size_t) (unsigned char) body[pos] << 8) |
			(unsigned char) body[pos + 1];
		pos += 2;
		if (mark == NULL_LENGTH)
			continue;
		if (pos + mark > length || (is_number(no) && mark != 8))
			return false;
		f->null = false;
		if (is_number(no))
		{
			uint64		n;

			memcpy(&n, body + pos, 8);
			f->number = (int64) pg_ntoh64(n);
		}
		else
		{
			f->text = body + pos;
			f->length = mark;
		}
		pos += mark;
	}
	return pos == length;
}

/* ---- column values ---- */

/*
 * A text that is valid in the database's encoding: the record may come from a
 * session of another database.
 */
static char *
valid_text(const char *text, size_t length)
{
	char	   *copy = pnstrdup(text, length);

	if (!pg_verify_mbstr(GetDatabaseEncoding(), copy, (int) strlen(copy), true))
	{
		for (char *p = copy; *p; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	}
	return copy;
}

static Datum
list_datum(const CpiiField *f)
{
	ArrayBuildState *state = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	size_t		pos = 0;
	const char *item;
	size_t		length;

	while (list_next(f, &pos, &item, &length))
		state = accumArrayResult(state,
								 CStringGetTextDatum(valid_text(item, length)),
								 false, TEXTOID, CurrentMemoryContext);
	return makeArrayResult(state, CurrentMemoryContext);
}

/* 0 when the text is no address */
static Datum
address_datum(char *text)
{
	unsigned char address[16];
	char	   *zone = strchr(text, '%');
	int			family = strchr(text, ':') ? PGSQL_AF_INET6 : PGSQL_AF_INET;

	if (zone != NULL)
		*zone = '\0';
	if (pg_inet_net_pton(family, text, address, -1) < 0)
		return (Datum) 0;
	return DirectFunctionCall1(inet_in, CStringGetDatum(text));
}

static char *
json_text(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(jsonb_out, value));
}

/*
 * The detail as jsonb.  One that cannot be read or is too long is kept as a
 * text inside an object; a bad record must not stop those behind it.
 */
static Datum
json_datum(char *text)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile Datum value = (Datum) 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
		if (strlen(json_text(value)) > MAX_JSON_TEXT)
			value = (Datum) 0;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		value = (Datum) 0;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (value == (Datum) 0)
	{
		StringInfoData buf;

		initStringInfo(&buf);
		appendStringInfoString(&buf, "{\"unreadable\": ");
		escape_json(&buf, text);
		appendStringInfoChar(&buf, '}');
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	}
	return value;
}

void
cpii_row_to_datums(const CpiiRow *row, Datum *values, bool *nulls)
{
	for (int no = 0; no < CPII_N_FIELDS; no++)
	{
		const CpiiField *f = &row->field[no];

		nulls[no] = f->null;
		values[no] = (Datum) 0;
		if (f->null)
			continue;
		switch (kinds[no])
		{
			case KIND_TEXT:
				values[no] = CStringGetTextDatum(valid_text(f->text, f->length));
				break;
			case KIND_INT4:
				values[no] = Int32GetDatum((int32) f->number);
				break;
			case KIND_INT8:
				values[no] = Int64GetDatum(f->number);
				break;
			case KIND_TIME:
				values[no] = TimestampTzGetDatum(f->number - CPII_UNIX_OFFSET);
				break;
			case KIND_INTERVAL:
				{
					Interval   *interval = palloc0(sizeof(Interval));

					interval->time = f->number;
					values[no] = IntervalPGetDatum(interval);
					break;
				}
			case KIND_INET:
				values[no] = address_datum(valid_text(f->text, f->length));
				nulls[no] = values[no] == (Datum) 0;
				break;
			case KIND_JSON:
				values[no] = json_datum(valid_text(f->text, f->length));
				break;
			case KIND_LIST:
				values[no] = list_datum(f);
				break;
		}
	}
}

static void
list_field(CpiiField *f, ArrayType *array)
{
	Datum	   *items;
	bool	   *nulls;
	int			n;
	size_t		size;
	char	   *list;
	size_t		used = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &n);
	size = VARSIZE_ANY_EXHDR(array) + 2 * (size_t) n;
	list = palloc(size);
	for (int i = 0; i < n; i++)
	{
		text	   *item = nulls[i] ? NULL : DatumGetTextPP(items[i]);
		size_t		before = used;

		if (item != NULL)
			used = list_append(list, used, size, VARDATA_ANY(item),
							   VARSIZE_ANY_EXHDR(item));
		if (used == before)
		{
			/* not an item that we ever write: must not pass unnoticed */
			list[used++] = (char) 0xFF;
			list[used++] = (char) 0xFF;
		}
	}
	f->text = list;
	f->length = used;
}

void
cpii_row_from_datums(CpiiRow *row, const Datum *values, const bool *nulls)
{
	cpii_row_clear(row);
	for (int no = 0; no < CPII_N_FIELDS; no++)
	{
		CpiiField  *f = &row->field[no];

		f->null = nulls[no];
		if (nulls[no])
			continue;
		switch (kinds[no])
		{
			case KIND_TEXT:
				{
					text	   *value = DatumGetTextPP(values[no]);

					f->text = VARDATA_ANY(value);
					f->length = VARSIZE_ANY_EXHDR(value);
					break;
				}
			case KIND_INT4:
				f->number = DatumGetInt32(values[no]);
				break;
			case KIND_INT8:
				f->number = DatumGetInt64(values[no]);
				break;
			case KIND_TIME:
				f->number = DatumGetTimestampTz(values[no]) + CPII_UNIX_OFFSET;
				break;
			case KIND_INTERVAL:
				{
					Interval   *interval = DatumGetIntervalP(values[no]);

					f->number = interval->time +
						((int64) interval->month * DAYS_PER_MONTH +
						 interval->day) * USECS_PER_DAY;
					break;
				}
			case KIND_INET:
				f->text = DatumGetCString(DirectFunctionCall1(inet_out, values[no]));
				f->length = strlen(f->text);
				break;
			case KIND_JSON:
				f->text = json_text(values[no]);
				f->length = strlen(f->text);
				break;
			case KIND_LIST:
				list_field(f, DatumGetArrayTypeP(values[no]));
				break;
		}
	}
}

void
cpii_row_check_columns(TupleDesc tupdesc)
{
	bool		ok = tupdesc->natts == CPII_N_COLUMNS;

	for (int no = 0; ok && no < CPII_N_FIELDS; no++)
		ok = TupleDescAttr(tupdesc, no)->atttypid == kind_types[kinds[no]];
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"courier_pii.audit_record\" does not have the expected columns"),
				 errhint("Run ALTER EXTENSION courier_pii UPDATE.")));
}

/* ---- hashing ---- */

struct CpiiChain
{
	MemoryContextCallback callback;
	int			generation;		/* to write with; 0 = no key */
	CpiiMac    *plain;			/* a key of zeros */
	CpiiMac    *keyed;			/* of generation keyed_generation, or NULL */
	int			keyed_generation;
	unsigned char key[CPII_KEY_LEN];	/* the same as a key */
	bool		verifying;
	CpiiRatchetResult found;	/* how the first key was found */
	unsigned char input[CPII_HASH_LEN + 8 + CPII_MAX_CANONICAL];
};

/* the worker's key in use; its file is read once */
static unsigned char current_key[CPII_KEY_LEN];
static int	current_generation = 0;

static void
chain_release(void *arg)
{
	CpiiChain  *chain = arg;

	cpii_mac_free(chain->keyed);
	cpii_mac_free(chain->plain);
	chain->keyed = chain->plain = NULL;
	cpii_wipe(chain->key, sizeof(chain->key));
}

static CpiiChain *
chain_new(void)
{
	CpiiChain  *chain = palloc0(sizeof(CpiiChain));

	chain->callback.func = chain_release;
	chain->callback.arg = chain;
	chain->plain = cpii_mac_new(chain->key, sizeof(chain->key));
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &chain->callback);
	return chain;
}

/* make contexts of the key in hand */
static void
chain_key(CpiiChain *chain, int generation)
{
	cpii_mac_free(chain->keyed);
	chain->keyed = cpii_mac_new(chain->key, sizeof(chain->key));
	chain->keyed_generation = generation;
	if (chain->plain == NULL || chain->keyed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

CpiiChain *
cpii_chain_open_writing(int floor, bool move_on)
{
	CpiiChain  *chain = chain_new();
	static TimestampTz logged_at = 0;

	if (current_generation < Max(floor, 1))
	{
		CpiiRatchetResult result = cpii_ratchet_current(floor, current_key,
														&current_generation);

		if (result != CPII_RATCHET_OK)
		{
			current_generation = 0;
			if (result != CPII_RATCHET_NO_MASTER &&
				TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
			{
				logged_at = GetCurrentTimestamp();
				ereport(LOG,
						(errmsg("the key of the audit chain is %s",
								result == CPII_RATCHET_MISSING ? "missing" : "damaged"),
						 errdetail("Records are chained without a key until it is back in the key store."),
						 errhint("Restore the file \"audit-current.key\" of the key store, an old copy does.")));
			}
			return chain;
		}
	}
	if (move_on && cpii_ratchet_step(current_key))
	{
		/* a key that is not on disk must not be used */
		if (!cpii_ratchet_store(current_key, current_generation + 1))
		{
			current_generation = 0;
			cpii_wipe(current_key, sizeof(current_key));
			return cpii_chain_open_writing(floor, false);
		}
		current_generation++;
	}
	memcpy(chain->key, current_key, sizeof(chain->key));
	chain->generation = current_generation;
	chain_key(chain, current_generation);
	return chain;
}

CpiiChain *
cpii_chain_open_verifying(void)
{
	CpiiChain  *chain = chain_new();

	chain->verifying = true;
	chain->found = cpii_ratchet_start(chain->key);
	if (chain->found == CPII_RATCHET_OK)
		chain_key(chain, 1);
	return chain;
}

void
cpii_chain_close(CpiiChain *chain)
{
	/* the memory goes with its context, for the callback stays registered */
	chain_release(chain);
}

int
cpii_chain_generation(const CpiiChain *chain)
{
	return chain->verifying ? chain->keyed_generation : chain->generation;
}

/* have the key of this generation in hand */
static void
chain_seek(CpiiChain *chain, int generation)
{
	if (chain->verifying && (chain->found != CPII_RATCHET_OK))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("audit records cannot be verified without the first key of their chain"),
				 chain->found == CPII_RATCHET_NO_MASTER ?
				 errhint("Make the master key available to this server.") :
				 errhint("Put \"audit-start.key\" back into the key store, or verify with tools/audit_verify where it is kept.")));
	if (chain->keyed == NULL || (!chain->verifying && generation < chain->keyed_generation))
		elog(ERROR, "no key for generation %d of the audit chain", generation);
	if (generation < chain->keyed_generation)
	{
		/* another server's records: from the first key again */
		chain->found = cpii_ratchet_start(chain->key);
		if (chain->found != CPII_RATCHET_OK)
		{
			chain_seek(chain, generation);
			return;
		}
		chain->keyed_generation = 1;
	}
	for (int i = chain->keyed_generation; i < generation; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (!cpii_ratchet_step(chain->key))
			elog(ERROR, "could not compute a key of the audit chain");
	}
	chain_key(chain, generation);
}

void
cpii_chain_hash(CpiiChain *chain, int generation,
				const unsigned char *prev_hash, int64 seq,
				const char *canonical, size_t length, unsigned char *hash)
{
	CpiiMac    *mac = chain->plain;
	uint64		number = pg_hton64((uint64) seq);

	StaticAssertStmt(CPII_HASH_LEN == CPII_MAC_LEN, "hash length");
	Assert(length <= CPII_MAX_CANONICAL);
	if (generation != 0)
	{
		if (generation != chain->keyed_generation)
			chain_seek(chain, generation);
		mac = chain->keyed;
	}
	memcpy(chain->input, prev_hash, CPII_HASH_LEN);
	memcpy(chain->input + CPII_HASH_LEN, &number, 8);
	memcpy(chain->input + CPII_HASH_LEN + 8, canonical, length);
	if (mac == NULL || !cpii_mac(mac, chain->input, CPII_HASH_LEN + 8 + length, hash))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a hash of the audit chain")));
}
