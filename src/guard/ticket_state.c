/*-------------------------------------------------------------------------
 *
 * ticket_state.c
 *	  A request as its register knows it: reading, digest, seals.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/settings.h"
#include "crypto/keyring.h"
#include "guard/ticket_state.h"

#define SEAL_PURPOSE "courier_pii ticket seal 1"

/* ---- persons ---- */

CpiiPerson
cpii_acting_person(void)
{
	const CpiiActor *who = cpii_session_actor();
	CpiiPerson	person;

	person.staff_no = pstrdup(who->staff_no);
	person.login = who->login;
	person.name = pstrdup(who->staff_no[0] != '\0' ? who->staff_no : who->login_name);
	return person;
}

bool
cpii_same_person(const CpiiPerson *a, const CpiiPerson *b)
{
	if (a->staff_no[0] != '\0' && b->staff_no[0] != '\0')
		return strcmp(a->staff_no, b->staff_no) == 0;
	return a->login == b->login;
}

/* ---- reading ---- */

/*
 * A snapshot of now: under REPEATABLE READ the transaction's own would not know
 * of a revocation.
 */
static int
read_now(const char *sql, int nargs, Oid *types, Datum *values)
{
	int			rc;

	PushActiveSnapshot(GetLatestSnapshot());
	rc = cpii_internal_execute(sql, nargs, types, values, NULL, true, 0);
	PopActiveSnapshot();
	return rc;
}

static char *
text_column(int row, int column)
{
	char	   *value = cpii_result_text(row, column);

	return value ? value : pstrdup("");
}

static Datum
column(int row, int no, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, no, isnull);
}

static int64
number_column(int row, int no, int64 missing)
{
	bool		isnull;
	Datum		value = column(row, no, &isnull);

	return isnull ? missing : DatumGetInt64(value);
}

/* bytes of a fixed length; all zero when the column has another length */
static void
bytes_column(int row, int no, unsigned char *out, size_t len)
{
	bool		isnull;
	Datum		value = column(row, no, &isnull);

	memset(out, 0, len);
	if (!isnull)
	{
		bytea	   *bytes = DatumGetByteaPP(value);

		if (VARSIZE_ANY_EXHDR(bytes) == len)
			memcpy(out, VARDATA_ANY(bytes), len);
	}
}

static int
texts_column(int row, int no, char ***texts)
{
	bool		isnull;
	Datum		value = column(row, no, &isnull);
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	*texts = NULL;
	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, &nulls, &n);
	*texts = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*texts)[i] = nulls[i] ? pstrdup("") : TextDatumGetCString(elems[i]);
	return n;
}

bool
cpii_request_load(int64 id, bool lock, CpiiRequest *request)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext spi;
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(id)};
	bool		isnull;
	Datum		value;
	char	  **oids;
	int			noids;

	SPI_connect();
	if (lock)
	{
		cpii_internal_execute("SELECT 1 FROM courier_pii.request_register r"
							  " WHERE r.id = $1 FOR UPDATE",
							  1, types, values, NULL, false, 0);
		SPI_freetuptable(SPI_tuptable);
	}
	read_now("SELECT r.id, r.kind, r.purpose, r.details, r.requester,"
			 " r.requester_staff_no, r.requester_login::pg_catalog.oid,"
			 " r.beneficiaries, r.objects, r.object_oids::pg_catalog.text[],"
			 " r.estimated_rows, r.requested_at, r.decide_before,"
			 " r.approvals_needed, r.state, r.decided_at, r.digest, r.seal"
			 " FROM courier_pii.request_register r WHERE r.id = $1",
			 1, types, values);
	if (SPI_processed == 0)
	{
		SPI_finish();
		return false;
	}
	spi = MemoryContextSwitchTo(context);
	memset(request, 0, sizeof(*request));
	request->id = id;
	request->kind = text_column(0, 2);
	request->purpose = text_column(0, 3);
	value = column(0, 4, &isnull);
	request->details = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	request->details_text = text_column(0, 4);
	request->requester.name = text_column(0, 5);
	request->requester.staff_no = text_column(0, 6);
	value = column(0, 7, &isnull);
	request->requester.login = isnull ? InvalidOid : DatumGetObjectId(value);
	request->nbeneficiaries = texts_column(0, 8, &request->beneficiaries);
	request->nobjects = texts_column(0, 9, &request->objects);
	noids = texts_column(0, 10, &oids);
	request->object_oids = palloc0(sizeof(Oid) * Max(request->nobjects, 1));
	for (int i = 0; i < Min(noids, request->nobjects); i++)
		request->object_oids[i] = (Oid) strtoul(oids[i], NULL, 10);
	request->estimated_rows = number_column(0, 11, -1);
	request->requested_at = number_column(0, 12, 0);
	request->decide_before = number_column(0, 13, 0);
	value = column(0, 14, &isnull);
	request->needed = isnull ? 1 : DatumGetInt32(value);
	request->state = text_column(0, 15);
	request->decided_at = number_column(0, 16, 0);
	bytes_column(0, 17, request->digest, sizeof(request->digest));
	bytes_column(0, 18, request->seal, sizeof(request->seal));
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return true;
}

int
cpii_request_approvals(int64 id, CpiiApproval **approvals)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext spi;
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(id)};
	int			n;

	SPI_connect();
	read_now("SELECT a.approver, a.approver_staff_no,"
			 " a.approver_login::pg_catalog.oid, a.approved_at, a.seal"
			 " FROM courier_pii.request_approval a WHERE a.request_id = $1"
			 " ORDER BY a.approved_at, a.approver", 1, types, values);
	n = (int) SPI_processed;
	spi = MemoryContextSwitchTo(context);
	*approvals = palloc0(sizeof(CpiiApproval) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CpiiApproval *a = &(*approvals)[i];
		bool		isnull;
		Datum		value;

		a->approver.name = text_column(i, 1);
		a->approver.staff_no = text_column(i, 2);
		value = column(i, 3, &isnull);
		a->approver.login = isnull ? InvalidOid : DatumGetObjectId(value);
		a->approved_at = number_column(i, 4, 0);
		bytes_column(i, 5, a->seal, sizeof(a->seal));
	}
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return n;
}

/* ---- digest and seals ---- */

/* each part with its length in front: no two requests give the same bytes */
static void
part(StringInfo buf, const char *text)
{
	appendStringInfo(buf, "%zu:%s,", strlen(text), text);
}

static void
number_part(StringInfo buf, int64 number)
{
	appendStringInfo(buf, INT64_FORMAT ",", number);
}

void
cpii_request_digest(const CpiiRequest *request,
					unsigned char digest[CPII_SHA256_LEN])
{
	StringInfoData buf;

	initStringInfo(&buf);
	part(&buf, "courier_pii request 1");
	number_part(&buf, request->id);
	part(&buf, request->kind);
	part(&buf, request->purpose);
	part(&buf, request->details_text);
	part(&buf, request->requester.name);
	part(&buf, request->requester.staff_no);
	number_part(&buf, request->requester.login);
	number_part(&buf, request->nbeneficiaries);
	for (int i = 0; i < request->nbeneficiaries; i++)
		part(&buf, request->beneficiaries[i]);
	number_part(&buf, request->nobjects);
	for (int i = 0; i < request->nobjects; i++)
	{
		part(&buf, request->objects[i]);
		number_part(&buf, request->object_oids[i]);
	}
	number_part(&buf, request->estimated_rows);
	number_part(&buf, request->requested_at);
	number_part(&buf, request->needed);
	if (!cpii_sha256((unsigned char *) buf.data, buf.len, digest))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	pfree(buf.data);
}

static void
seal_bytes(const StringInfo buf, unsigned char seal[CPII_MAC_LEN])
{
	unsigned char audit[CPII_KEY_LEN];
	unsigned char key[CPII_KEY_LEN];
	CpiiMac    *mac = NULL;
	bool		ok;

	if (!cpii_keyring_audit_key(audit))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("no key is available to seal or check a ticket"),
				 errhint("Make the master key available, see courier_pii.key_status.")));
	ok = cpii_hkdf(audit, sizeof(audit),
				   (const unsigned char *) SEAL_PURPOSE, strlen(SEAL_PURPOSE),
				   (const unsigned char *) SEAL_PURPOSE, strlen(SEAL_PURPOSE), key);
	if (ok)
		mac = cpii_mac_new(key, sizeof(key));
	ok = mac != NULL &&
		cpii_mac(mac, (unsigned char *) buf->data, buf->len, seal);
	if (mac != NULL)
		cpii_mac_free(mac);
	cpii_wipe(audit, sizeof(audit));
	cpii_wipe(key, sizeof(key));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
}

void
cpii_request_seal(const CpiiRequest *request, unsigned char seal[CPII_MAC_LEN])
{
	StringInfoData buf;

	initStringInfo(&buf);
	part(&buf, "request");
	appendBinaryStringInfo(&buf, (const char *) request->digest,
						   sizeof(request->digest));
	number_part(&buf, request->decide_before);
	seal_bytes(&buf, seal);
	pfree(buf.data);
}

void
cpii_approval_seal(const CpiiRequest *request, const CpiiApproval *approval,
				   unsigned char seal[CPII_MAC_LEN])
{
	StringInfoData buf;

	initStringInfo(&buf);
	part(&buf, "approval");
	appendBinaryStringInfo(&buf, (const char *) request->digest,
						   sizeof(request->digest));
	part(&buf, approval->approver.name);
	part(&buf, approval->approver.staff_no);
	number_part(&buf, approval->approver.login);
	number_part(&buf, approval->approved_at);
	seal_bytes(&buf, seal);
	pfree(buf.data);
}

bool
cpii_request_intact(const CpiiRequest *request)
{
	unsigned char digest[CPII_SHA256_LEN];
	unsigned char seal[CPII_MAC_LEN];

	cpii_request_digest(request, digest);
	cpii_request_seal(request, seal);
	return memcmp(digest, request->digest, sizeof(digest)) == 0 &&
		memcmp(seal, request->seal, sizeof(seal)) == 0;
}

void
cpii_request_check(const CpiiRequest *request)
{
	if (!cpii_request_intact(request))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_TICKET_INVALID),
				 errmsg("request is not as it was made"),
				 errdetail("Its digest or seal does not match the register."),
				 errhint("The register was changed from outside, or restored elsewhere: make a new request, and tell the auditor.")));
}

/* ---- details ---- */

static JsonbValue *
detail(const CpiiRequest *request, const char *key)
{
	if (!JB_ROOT_IS_OBJECT(request->details))
		return NULL;
	return getKeyJsonValueFromContainer(&request->details->root, key,
										(int) strlen(key), NULL);
}

char *
cpii_request_detail(const CpiiRequest *request, const char *key)
{
	JsonbValue *value = detail(request, key);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

int64
cpii_request_number(const CpiiRequest *request, const char *key, int64 missing)
{
	JsonbValue *value = detail(request, key);
	bool		error = false;
	char	   *text;
	char	   *end;
	int64		number;

	if (value == NULL || value->type != jbvNumeric)
		return missing;
	text = numeric_normalize(value->val.numeric);
	errno = 0;
	number = strtoll(text, &end, 10);
	error = errno != 0 || *end != '\0' || number < 0;
	return error ? missing : number;
}

static char *
scalar_text(const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return numeric_normalize(value->val.numeric);
	return NULL;
}

int
cpii_request_texts(const CpiiRequest *request, const char *key, char ***texts)
{
	JsonbValue *value = detail(request, key);
	int			n = 0;

	*texts = NULL;
	if (value == NULL)
		return 0;
	if (value->type != jbvBinary)
	{
		*texts = palloc(sizeof(char *));
		(*texts)[0] = scalar_text(value);
		return (*texts)[0] ? 1 : 0;
	}
	if (!JsonContainerIsArray(value->val.binary.data))
		return 0;
	*texts = palloc(sizeof(char *) * Max(JsonContainerSize(value->val.binary.data), 1));
	for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(value->val.binary.data, i);
		char	   *text = item ? scalar_text(item) : NULL;

		if (text != NULL)
			(*texts)[n++] = text;
	}
	return n;
}

bool
cpii_request_benefits(const CpiiRequest *request, const CpiiPerson *person)
{
	char	   *login = GetUserNameFromId(person->login, true);

	for (int i = 0; i < request->nbeneficiaries; i++)
	{
		if ((person->staff_no[0] != '\0' &&
			 strcmp(request->beneficiaries[i], person->staff_no) == 0) ||
			(login != NULL && strcmp(request->beneficiaries[i], login) == 0))
			return true;
	}
	return false;
}

/*
 * Looked up without asking for permissions: whether a text names a relation
 * does not depend on who asks.
 */
static Oid
find_relation(List *names, int parts)
{
	Oid			nsp;

	if (parts == 1)
		return RelnameGetRelid(linitial(names));
	nsp = get_namespace_oid(linitial(names), true);
	return OidIsValid(nsp) ? get_relname_relid(lsecond(names), nsp) : InvalidOid;
}

char *
cpii_object_name(const char *text, Oid *relid)
{
	List	   *names;

	*relid = InvalidOid;
	if (!SplitIdentifierString(pstrdup(text), '.', &names) ||
		list_length(names) < 1 || list_length(names) > 3)
		return pstrdup(text);
	for (int parts = Min(list_length(names), 2); parts >= 1; parts--)
	{
		Oid			found;
		char	   *column = NULL;
		char	   *result;

		if (list_length(names) - parts > 1)
			break;
		found = find_relation(names, parts);
		if (!OidIsValid(found))
			continue;
		if (list_length(names) > parts)
		{
			column = llast(names);
			if (get_attnum(found, column) <= 0)
				continue;
		}
		*relid = found;
		result = quote_qualified_identifier(get_namespace_name(get_rel_namespace(found)),
											get_rel_name(found));
		return column ? psprintf("%s.%s", result, quote_identifier(column)) : result;
	}
	return pstrdup(text);
}

/* ---- rules ---- */

int
cpii_quorum(const char *kind, int64 rows)
{
	Oid			types[2] = {TEXTOID, INT8OID};
	Datum		values[2];
	char		nulls[2] = {' ', ' '};
	int			result = 1;
	bool		isnull;
	Datum		value;

	values[0] = CStringGetTextDatum(kind);
	values[1] = Int64GetDatum(rows);
	if (rows < 0)
		nulls[1] = 'n';			/* not known: as many as there can be */
	SPI_connect();
	cpii_internal_execute("SELECT pg_catalog.max(q.approvals)"
						  " FROM courier_pii.quorum_rule q"
						  " WHERE q.kind = $1 AND ($2 IS NULL OR q.above_rows <= $2)",
						  2, types, values, nulls, true, 0);
	value = column(0, 1, &isnull);
	if (!isnull)
		result = Max(result, DatumGetInt32(value));
	SPI_finish();
	return result;
}

int
cpii_use_seconds(void)
{
	return cpii_ticket_use_within;
}

int
cpii_decide_seconds(void)
{
	return cpii_ticket_decide_within;
}
