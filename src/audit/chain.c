/*-------------------------------------------------------------------------
 *
 * chain.c
 *	  The canonical bytes of an audit record.
 *
 * Ingest turns a spool record into column values and hashes the canonical bytes
 * of those.  So what is hashed is what the
 * table can give back, whatever a column type does to a value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/tupmacs.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "audit/chain.h"
#include "audit/spool.h"

#define ROW_VERSION 1
#define NULL_LENGTH 0xFFFF
#define MAX_ITEM 1024
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

/*
 * strnlen(), written out: link-time optimisation sees the short arrays that
 * names are in, and takes a larger bound for an overread.
 */
static size_t
bounded_length(const char *text, size_t max_length)
{
	size_t		length = 0;

	while (length < max_length && text[length] != '\0')
		length++;
	return length;
}

void
cpii_row_text(CpiiRow *row, CpiiFieldNo no, const char *text,
			  size_t max_length)
{
	row->field[no].null = (text == NULL || text[0] == '\0');
	row->field[no].text = text;
	row->field[no].length = row->field[no].null ? 0 : bounded_length(text, max_length);
}

static size_t
list_append(char *list, size_t used, size_t size, const char *item,
			size_t length)
{
	if (length > MAX_ITEM || used + 2 + length > size)
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

/* ---- canonical bytes of column values ---- */

typedef struct Out
{
	char	   *at;
	char	   *end;
} Out;

static inline bool
put_bytes(Out *out, const char *bytes, size_t length)
{
	if (length >= NULL_LENGTH || out->at + 2 + length > out->end)
		return false;
	*out->at++ = (char) (length >> 8);
	*out->at++ = (char) (length & 0xFF);
	memcpy(out->at, bytes, length);
	out->at += length;
	return true;
}

/* the length that says NULL */
static inline bool
put_mark(Out *out)
{
	if (out->at + 2 > out->end)
		return false;
	*out->at++ = (char) (NULL_LENGTH >> 8);
	*out->at++ = (char) (NULL_LENGTH & 0xFF);
	return true;
}

static inline bool
put_number(Out *out, int64 number)
{
	uint64		n = pg_hton64((uint64) number);

	return put_bytes(out, (char *) &n, 8);
}

static bool
put_text(Out *out, Datum value)
{
	struct varlena *raw = (struct varlena *) DatumGetPointer(value);
	text	   *plain = pg_detoast_datum_packed(raw);
	bool		ok = put_bytes(out, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));

	if (plain != raw)
		pfree(plain);
	return ok;
}

/* an address as its type prints it; most come again and again */
static bool
put_address(Out *out, Datum value)
{
	static char last[64];
	static char last_text[64];
	static size_t last_size = 0;
	struct varlena *address = (struct varlena *) DatumGetPointer(value);
	size_t		size = VARSIZE_ANY(address);
	char	   *printed;
	bool		ok;

	if (size == last_size && memcmp(last, address, size) == 0)
		return put_bytes(out, last_text, strlen(last_text));
	printed = DatumGetCString(DirectFunctionCall1(inet_out, value));
	if (size <= sizeof(last) && strlen(printed) < sizeof(last_text))
	{
		memcpy(last, address, size);
		last_size = size;
		strcpy(last_text, printed);
	}
	ok = put_bytes(out, printed, strlen(printed));
	pfree(printed);
	return ok;
}

static bool
put_json(Out *out, Datum value)
{
	struct varlena *raw = (struct varlena *) DatumGetPointer(value);
	Jsonb	   *json = (Jsonb *) pg_detoast_datum(raw);
	int			estimate = VARSIZE(json) + 64;
	StringInfoData buf;
	bool		ok;

	initStringInfo(&buf);
	(void) JsonbToCString(&buf, &json->root, estimate);
	ok = put_bytes(out, buf.data, buf.len);
	pfree(buf.data);
	if ((struct varlena *) json != raw)
		pfree(json);
	return ok;
}

static bool
put_list(Out *out, Datum value)
{
	struct varlena *raw = (struct varlena *) DatumGetPointer(value);
	ArrayType  *array = (ArrayType *) pg_detoast_datum(raw);
	char	   *begin = out->at;
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	char	   *item = ARR_DATA_PTR(array);
	bits8	   *nullmap = ARR_NULLBITMAP(array);
	bool		ok = begin + 2 <= out->end;

	if (ok)
		out->at += 2;
	for (int i = 0; ok && i < n; i++)
	{
		bool		isnull = nullmap != NULL && (nullmap[i / 8] & (1 << (i % 8))) == 0;

		/* no items that we ever write: they must not pass unnoticed */
		if (isnull || VARSIZE_ANY_EXHDR(item) > MAX_ITEM)
			ok = put_mark(out);
		else
			ok = put_bytes(out, VARDATA_ANY(item), VARSIZE_ANY_EXHDR(item));
		if (!isnull)
			item = (char *) att_align_nominal(item + VARSIZE_ANY(item), TYPALIGN_INT);
	}
	if (ok)
	{
		size_t		length = out->at - begin - 2;

		begin[0] = (char) (length >> 8);
		begin[1] = (char) (length & 0xFF);
		ok = length < NULL_LENGTH;
	}
	if ((struct varlena *) array != raw)
		pfree(array);
	return ok;
}

size_t
cpii_row_encode_datums(const Datum *values, const bool *nulls, char *buf,
					   size_t size)
{
	Out			out = {buf, buf + size};
	bool		ok = size >= 1;

	if (ok)
		*out.at++ = ROW_VERSION;
	for (int no = 0; ok && no < CPII_N_FIELDS; no++)
	{
		if (no == CPII_F_SEQ)
			continue;
		if (nulls[no])
		{
			ok = put_mark(&out);
			continue;
		}
		switch (kinds[no])
		{
			case KIND_TEXT:
				ok = put_text(&out, values[no]);
				break;
			case KIND_INT4:
				ok = put_number(&out, DatumGetInt32(values[no]));
				break;
			case KIND_INT8:
				ok = put_number(&out, DatumGetInt64(values[no]));
				break;
			case KIND_TIME:
				ok = put_number(&out, DatumGetTimestampTz(values[no]) + CPII_UNIX_OFFSET);
				break;
			case KIND_INTERVAL:
				{
					Interval   *interval = DatumGetIntervalP(values[no]);

					ok = put_number(&out, interval->time +
									((int64) interval->month * DAYS_PER_MONTH +
									 interval->day) * USECS_PER_DAY);
					break;
				}
			case KIND_INET:
				ok = put_address(&out, values[no]);
				break;
			case KIND_JSON:
				ok = put_json(&out, values[no]);
				break;
			case KIND_LIST:
				ok = put_list(&out, values[no]);
				break;
		}
	}
	return ok ? out.at - buf : 0;
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
