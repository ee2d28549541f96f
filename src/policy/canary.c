/*-------------------------------------------------------------------------
 *
 * canary.c
 *	  Decoy rows: planting, listing, removing, and recognising them.
 *
 * A decoy's row is written and removed with the rights of its table's owner,
 * whose triggers and defaults may run then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/base64url.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/keyring.h"
#include "policy/canary.h"
#include "sealed/seal.h"

CPII_EXPORT Datum cpii_add_canary(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_remove_canary(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_canaries(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_add_canary);
PG_FUNCTION_INFO_V1(cpii_remove_canary);
PG_FUNCTION_INFO_V1(cpii_canaries);

/* a decoy's sealed text: "table\ncolumn\tenvelope\ncolumn\tenvelope..." */
typedef struct Decoy
{
	int64		id;
	char	   *table;
	int			n;
	char	   *column[8];
	char	   *value[8];
} Decoy;

typedef struct Tag
{
	unsigned char tag[CPII_SEARCH_TAG_LEN];
	int64		id;
} Tag;

int			cpii_canary_values = -1;

static HTAB *tags = NULL;
static Oid	register_oid = InvalidOid;

static void
forget(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == register_oid)
		cpii_canary_values = -1;
}

/* names are shared by many people: they tell nothing */
static bool
tells(int class_id)
{
	return cpii_class_is_searchable(class_id) && class_id != CPII_CLASS_PERSON_NAME &&
		class_id != CPII_CLASS_UNIT_NAME;
}

static void
parse_decoy(char *text, Decoy *d)
{
	char	   *next = strchr(text, '\n');

	d->n = 0;
	d->table = text;
	while (next != NULL && d->n < lengthof(d->column))
	{
		char	   *tab;

		*next++ = '\0';
		tab = strchr(next, '\t');
		if (tab == NULL)
			break;
		*tab = '\0';
		d->column[d->n] = next;
		d->value[d->n++] = tab + 1;
		next = strchr(tab + 1, '\n');
	}
}

/* read the register; between SPI_connect and SPI_finish */
static Decoy *
read_decoys(int *n)
{
	CpiiInternalState internal;
	SPITupleTable *rows;
	Decoy	   *decoys;
	bool		isnull;

	cpii_internal_begin(&internal);
	cpii_internal_execute("SELECT id, secret FROM courier_pii.canary_register ORDER BY id",
						  0, NULL, NULL, NULL, true, 0);
	*n = (int) SPI_processed;
	rows = SPI_tuptable;
	decoys = palloc0(sizeof(Decoy) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bytea	   *secret = DatumGetByteaPP(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
		CpiiEpochState state;
		CpiiEnvelope env;
		size_t		len;
		char	   *plain;

		cpii_parse_or_damaged(secret, &env);
		decoys[i].id = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		decoys[i].table = "";
		/* a destroyed key takes its decoys along, not the door */
		state = cpii_keyring_epoch_state(env.class_id, env.epoch);
		if (state == CPII_EPOCH_ABSENT || state == CPII_EPOCH_DESTROYED)
			continue;
		plain = cpii_open(&env, &len);
		parse_decoy(pnstrdup(plain, len), &decoys[i]);
		cpii_wipe(plain, len);
	}
	cpii_internal_end(&internal);
	return decoys;
}

static bytea *
value_of(const char *text)
{
	static const char prefix[] = "pii:1";
	size_t		len;
	unsigned char *bytes;
	const char *p = text;

	if (strncmp(p, prefix, strlen(prefix)) != 0)
		return NULL;
	p += strlen(prefix);
	bytes = cpii_base64url_decode(p, strlen(p), &len);
	if (bytes == NULL)
		return NULL;
	return DatumGetByteaP(cpii_bytea(bytes, len));
}

static void
load(void)
{
	static bool registered = false;
	Decoy	   *decoys;
	HASHCTL		ctl;
	int			n;
	int			values = 0;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		registered = true;
	}
	register_oid = cpii_relation_oid("canary_register", true);
	if (!OidIsValid(register_oid))
		return;
	SPI_connect();
	decoys = read_decoys(&n);
	if (tags != NULL)
		hash_destroy(tags);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = CPII_SEARCH_TAG_LEN;
	ctl.entrysize = sizeof(Tag);
	ctl.hcxt = TopMemoryContext;
	tags = hash_create("courier_pii decoys", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < decoys[i].n; j++)
		{
			bytea	   *value = value_of(decoys[i].value[j]);
			CpiiEnvelope env;
			Tag		   *entry;

			if (value == NULL)
				continue;
			cpii_parse_or_damaged(value, &env);
			if (env.tag == NULL)
				continue;
			entry = hash_search(tags, env.tag, HASH_ENTER, NULL);
			entry->id = decoys[i].id;
			values++;
		}
	SPI_finish();
	cpii_canary_values = values;
}

void
cpii_canary_look(const CpiiEnvelope *env, bool clear)
{
	CpiiAuditEvent event = {0};
	const char *names[CPII_MAX_STATEMENT_RELATIONS];
	Tag		   *entry;

	if (cpii_internal_depth > 0)
		return;
	if (cpii_canary_values < 0)
		load();
	if (cpii_canary_values <= 0)
		return;
	entry = hash_search(tags, env->tag, HASH_FIND, NULL);
	if (entry == NULL)
		return;
	if (!clear)
	{
		cpii_statement.canary = entry->id;
		return;
	}
	/* once for each decoy, also when more of its values are shown */
	if (cpii_statement.canary_shown == entry->id)
		return;
	cpii_statement.canary_shown = entry->id;
	event.phase = CPII_PHASE_SINGLE;
	event.action = CPII_ACT_CANARY;
	event.outcome = "ok";
	event.command = "shown";
	for (int i = 0; i < cpii_statement.nrelations; i++)
	{
		Oid			relid = cpii_statement.relations[i];
		char	   *name = get_rel_name(relid);
		char	   *nsp = name ? get_namespace_name(get_rel_namespace(relid)) : NULL;

		if (nsp != NULL)
			names[event.nrelations++] = psprintf("%s.%s", nsp, name);
	}
	event.relations = names;
	event.classes = env->class_id < 32 ? ((uint32) 1) << env->class_id : 1;
	event.disclosed = 1;
	event.detail = psprintf("{\"canary\": %lld}", (long long) entry->id);
	(void) cpii_audit_write(&event, true);
}

/* ---- making up values ---- */

static int
dice(int n)
{
	uint32		x;

	if (!pg_strong_random(&x, sizeof(x)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	return (int) (x % (uint32) n);
}

static char *
digits(const char *prefix, int n)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, prefix);
	while (n-- > 0)
		appendStringInfoChar(&buf, '0' + dice(10));
	return buf.data;
}

static char *
make_id_number(void)
{
	static const int weight[17] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
	char	   *number = psprintf("%d%04d%02d%02d%03d", 110105 + dice(4), 1960 + dice(45),
								  1 + dice(12), 1 + dice(28), dice(1000));
	int			sum = 0;

	for (int i = 0; i < 17; i++)
		sum += (number[i] - '0') * weight[i];
	return psprintf("%s%c", number, "10X98765432"[sum % 11]);
}

static char *
make_value(int class_id)
{
	static const char *const family[] = {"王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴"};
	static const char *const given[] = {"伟", "芳", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "杰"};
	static const char *const mobile[] = {"138", "139", "150", "151", "158", "186", "187", "188"};
	static const char *const road[] = {"人民路", "中山路", "解放路", "建设路", "新华路", "和平路"};
	static const char *const city[] = {"北京市朝阳区", "上海市浦东新区", "广东省深圳市南山区", "浙江省杭州市西湖区"};

	switch (class_id)
	{
		case CPII_CLASS_PERSON_NAME:
			return psprintf("%s%s", family[dice(lengthof(family))], given[dice(lengthof(given))]);
		case CPII_CLASS_PHONE:
			return digits(mobile[dice(lengthof(mobile))], 8);
		case CPII_CLASS_ADDRESS:
			return psprintf("%s%s%d号%d单元%d室", city[dice(lengthof(city))],
							road[dice(lengthof(road))], 1 + dice(300), 1 + dice(6), 101 + dice(1800));
		case CPII_CLASS_ID_NUMBER:
			return make_id_number();
		case CPII_CLASS_WAYBILL_NO:
			return digits("SF1", 12);
		case CPII_CLASS_UNIT_NAME:
			return psprintf("%s商贸有限公司", given[dice(lengthof(given))]);
		case CPII_CLASS_EMAIL:
			return digits("user", 8);
		case CPII_CLASS_ACCOUNT_NO:
			return digits("6222", 15);
		case CPII_CLASS_ITEM:
			return pstrdup("日用品");
		default:
			return pstrdup("请放门口");
	}
}

/* ---- planting ---- */

static char *
qualified(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* run as the table's owner; inside SPI */
static void
execute_as_owner(Oid owner, const char *sql, Oid type, Datum value)
{
	Oid			userid;
	int			sec_context;
	int			rc;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	rc = SPI_execute_with_args(sql, 1, &type, &value, NULL, false, 0);
	SetUserIdAndSecContext(userid, sec_context);
	if (rc < 0)
		elog(ERROR, "statement for a decoy returned %s", SPI_result_code_string(rc));
}

static int64
store(const char *secret)
{
	CpiiInternalState internal;
	Oid			types[2] = {BYTEAOID, TEXTOID};
	Datum		values[2];
	int64		id;
	size_t		len;
	char	   *utf8 = cpii_to_utf8(secret, strlen(secret), &len);

	values[0] = PointerGetDatum(cpii_seal_value(CPII_CLASS_NOTE, utf8, len));
	values[1] = CStringGetTextDatum(cpii_session_actor()->login_name);
	cpii_internal_begin(&internal);
	cpii_internal_execute("INSERT INTO courier_pii.canary_register (secret, planted_by, planted_at)"
						  " VALUES ($1, $2, pg_catalog.clock_timestamp()) RETURNING id",
						  2, types, values, NULL, false, 0);
	id = cpii_result_int64(0, 1);
	cpii_internal_end(&internal);
	CacheInvalidateRelcacheByRelid(cpii_relation_oid("canary_register", false));
	return id;
}

/* add_canary(tbl, column_values): the number of the decoy */
Datum
cpii_add_canary(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel;
	Oid			owner;
	StringInfoData columns;
	StringInfoData sources;
	StringInfoData telling;
	StringInfoData made;
	StringInfoData secret;
	Datum		given = PG_GETARG_DATUM(1);
	int			n = 0;
	int64		id;

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	SPI_connect();
	initStringInfo(&columns);
	initStringInfo(&sources);
	initStringInfo(&telling);
	initStringInfo(&made);
	initStringInfo(&secret);
	rel = relation_open(relid, RowExclusiveLock);
	if (rel->rd_rel->relkind != RELKIND_RELATION && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	owner = rel->rd_rel->relowner;
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		const char *name = quote_identifier(NameStr(att->attname));
		int			class_id;
		bool		supplied;

		if (att->attisdropped || att->attgenerated)
			continue;
		class_id = cpii_class_of_type(att->atttypid, att->atttypmod);
		supplied = DatumGetBool(DirectFunctionCall2(jsonb_exists, given,
													CStringGetTextDatum(NameStr(att->attname))));
		if (!supplied && class_id == 0 && (att->atthasdef || att->attidentity))
			continue;
		appendStringInfo(&columns, "%s%s", columns.len ? ", " : "", name);
		appendStringInfoString(&sources, sources.len ? ", " : "");
		if (supplied || class_id != 0)
			appendStringInfo(&sources, "(($1 OPERATOR(pg_catalog.->>) %s)::%s)",
							 quote_literal_cstr(NameStr(att->attname)),
							 format_type_extended(att->atttypid, att->atttypmod,
												  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		else
			appendStringInfo(&sources, "s.%s", name);
		if (class_id != 0 && !supplied)
		{
			appendStringInfoString(&made, made.len ? ", " : "{");
			escape_json(&made, NameStr(att->attname));
			appendStringInfoString(&made, ": ");
			escape_json(&made, make_value(class_id));
		}
		if (class_id != 0 && tells(class_id) && n < lengthof(((Decoy *) NULL)->column))
			appendStringInfo(&telling, "%s%s", n++ ? ", " : "", name);
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a decoy in table \"%s\" could not be recognised", RelationGetRelationName(rel)),
				 errdetail("It has no protected column that can be searched and is not a name.")));
	appendStringInfoString(&made, made.len ? "}" : "{}");
	given = DirectFunctionCall2(jsonb_concat, DirectFunctionCall1(jsonb_in, CStringGetDatum(made.data)), given);
	execute_as_owner(owner,
					 psprintf("INSERT INTO %s (%s) SELECT %s FROM (SELECT * FROM %s LIMIT 1000) s"
							  " ORDER BY pg_catalog.random() LIMIT 1 RETURNING %s",
							  qualified(relid), columns.data, sources.data, qualified(relid), telling.data),
					 JSONBOID, given);
	relation_close(rel, NoLock);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a decoy needs a row to be like"),
				 errdetail("The table is empty, or a trigger refused the row.")));
	appendStringInfoString(&secret, qualified(relid));
	for (int i = 1; i <= n; i++)
	{
		char	   *value = cpii_result_text(0, i);

		if (value != NULL)
			appendStringInfo(&secret, "\n%s\t%s", SPI_fname(SPI_tuptable->tupdesc, i), value);
	}
	id = store(secret.data);
	SPI_finish();
	/* not where: this record is for all auditors */
	cpii_audit_note(CPII_ACT_POLICY, "add_canary", "ok", psprintf("{\"canary\": %lld}", (long long) id));
	PG_RETURN_INT64(id);
}

Datum
cpii_remove_canary(PG_FUNCTION_ARGS)
{
	CpiiInternalState internal;
	int64		id = PG_GETARG_INT64(0);
	Oid			type = INT8OID;
	Datum		value = PG_GETARG_DATUM(0);
	Decoy	   *decoys;
	Decoy	   *found = NULL;
	int			n;

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	SPI_connect();
	decoys = read_decoys(&n);
	for (int i = 0; i < n; i++)
		if (decoys[i].id == id)
			found = &decoys[i];
	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no decoy %lld", (long long) id)));
	if (found->n > 0)
	{
		Oid			relid = DatumGetObjectId(DirectFunctionCall1(to_regclass, CStringGetTextDatum(found->table)));
		HeapTuple	tup = OidIsValid(relid) ? SearchSysCache1(RELOID, ObjectIdGetDatum(relid)) : NULL;

		if (HeapTupleIsValid(tup))
		{
			Oid			owner = ((Form_pg_class) GETSTRUCT(tup))->relowner;

			ReleaseSysCache(tup);
			execute_as_owner(owner,
							 psprintf("DELETE FROM %s WHERE %s OPERATOR(pg_catalog.=) $1::courier_pii.sealed",
									  found->table, quote_identifier(found->column[0])),
							 TEXTOID, CStringGetTextDatum(found->value[0]));
		}
	}
	cpii_internal_begin(&internal);
	cpii_internal_execute("DELETE FROM courier_pii.canary_register WHERE id OPERATOR(pg_catalog.=) $1",
						  1, &type, &value, NULL, false, 0);
	cpii_internal_end(&internal);
	SPI_finish();
	CacheInvalidateRelcacheByRelid(cpii_relation_oid("canary_register", false));
	cpii_audit_note(CPII_ACT_POLICY, "remove_canary", "ok", psprintf("{\"canary\": %lld}", (long long) id));
	PG_RETURN_VOID();
}

/* canaries(): id, tbl, columns */
Datum
cpii_canaries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Decoy	   *decoys;
	int			n;

	cpii_require_preload();
	cpii_require_duty("pii_security_admin");
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	decoys = read_decoys(&n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {0};
		StringInfoData columns;

		initStringInfo(&columns);
		for (int j = 0; j < decoys[i].n; j++)
			appendStringInfo(&columns, "%s%s", j ? "," : "", decoys[i].column[j]);
		values[0] = Int64GetDatum(decoys[i].id);
		values[1] = CStringGetTextDatum(decoys[i].table);
		values[2] = CStringGetTextDatum(columns.data);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	cpii_audit_note(CPII_ACT_POLICY, "canaries", "ok", NULL);
	return (Datum) 0;
}
