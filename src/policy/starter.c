/*-------------------------------------------------------------------------
 *
 * starter.c
 *	  load_starter_policy: least privilege for the posts of a courier company.
 *
 * For each post a role, for each class of data a level, for each protected
 * table that looks familiar the rows.  What is there already is kept: loading
 * again changes nothing, and the company's own entries stay as they are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "audit/record.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/ticket.h"
#include "policy/catalog.h"
#include "policy/matrix.h"
#include "policy/policy.h"
#include "policy/starter.h"

PG_FUNCTION_INFO_V1(cpii_load_starter_policy);
CPII_EXPORT Datum cpii_load_starter_policy(PG_FUNCTION_ARGS);

typedef struct PostInfo
{
	const char *name;			/* as parameter "roles" names it */
	const char *role;			/* unless that parameter names another one */
	const char *levels;			/* one letter a class; + after it: searchable */
} PostInfo;

/*
 * Letters: Clear Scoped Label Masked Token Hidden.  Classes in the order of
 * their numbers:
 *	  name phone address id unit waybill item note email account time region
 * The mask of an address shows province to district only.
 */
static const PostInfo posts[CPII_NPOSTS] = {
	[CPII_POST_COURIER] = {"courier", "pii_courier", "S S S H+ S S M S H H S C"},
	[CPII_POST_SORTER] = {"sorter", "pii_sorter", "H H M H H C H H H H C C"},
	[CPII_POST_SERVICE] = {"service", "pii_service", "S M+ M H+ M C M H M H C C"},
	[CPII_POST_MANAGER] = {"manager", "pii_manager", "M M M H M C M H M H C C"},
	[CPII_POST_FRANCHISE] = {"franchise", "pii_franchise", "M M M H M C M H H H C C"},
	[CPII_POST_ENTRY] = {"entry", "pii_entry", "S S S H S S S H H H H C"},
	[CPII_POST_CLIENT] = {"client", "pii_client", "M M M H M C C H H H C C"},
	[CPII_POST_FINANCE] = {"finance", "pii_finance", "M M M H C C H H H S M C"},
	[CPII_POST_ANALYST] = {"analyst", "pii_analyst", "T T M H T T M H H H M C"},
	[CPII_POST_DBA] = {"dba", "pii_dba", "H H H H H H H H H H H H"},
	[CPII_POST_SECURITY_ADMIN] = {"security_admin", "pii_security_admin", "H H H H H T H H H H H H"},
	[CPII_POST_AUDITOR] = {"auditor", "pii_auditor", "T T M H T M H H H H C C"},
	[CPII_POST_REGULATOR] = {"regulator", "pii_regulator", "M M M H M M M H H H C C"},
	[CPII_POST_LIAISON] = {"liaison", "pii_liaison", "S S S S S S S S S S S C"},
	[CPII_POST_LABEL] = {"label", "pii_label", "L L L H L C M H H H C C"},
};

typedef struct Load
{
	ReturnSetInfo *rsinfo;
	bool		dry_run;
	char	   *role[CPII_NPOSTS];
	int			done;
	int			kept;
	bool		wait;			/* keep rows back until the table is done */
	List	   *waiting;		/* of Datum *, the four values of a row */
} Load;

static void
put_row(Load *load, Datum *values)
{
	/* a Datum of 0 is no pointer: null */
	bool		nulls[4] = {false, values[1] == 0, values[2] == 0, values[3] == 0};

	tuplestore_putvalues(load->rsinfo->setResult, load->rsinfo->setDesc, values, nulls);
}

/* one row of the report */
static void
report(Load *load, const char *action, const char *grantee, const char *object,
	   const char *detail)
{
	Datum	   *values = palloc(sizeof(Datum) * 4);
	Name		name = palloc0(sizeof(NameData));

	if (strcmp(action, "kept") == 0)
		load->kept++;
	else
		load->done++;
	if (grantee)
		namestrcpy(name, grantee);
	values[0] = CStringGetTextDatum(action);
	values[1] = grantee ? NameGetDatum(name) : (Datum) 0;
	values[2] = object ? CStringGetTextDatum(object) : (Datum) 0;
	values[3] = detail ? CStringGetTextDatum(detail) : (Datum) 0;
	if (load->wait)
		load->waiting = lappend(load->waiting, values);
	else
		put_row(load, values);
}

/* ---- roles ---- */

/* {"courier": "express_courier", ...} */
static void
name_roles(Load *load, Jsonb *roles)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	int			post = -1;

	for (int i = 0; i < CPII_NPOSTS; i++)
		load->role[i] = pstrdup(posts[i].role);
	if (!JB_ROOT_IS_OBJECT(roles))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("roles must be a JSON object")));
	it = JsonbIteratorInit(&roles->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char	   *name = pnstrdup(v.val.string.val, v.val.string.len);

			for (post = CPII_NPOSTS - 1; post >= 0; post--)
				if (strcmp(posts[post].name, name) == 0)
					break;
			if (post < 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("unrecognized post \"%s\"", name),
						 errhint("Valid posts are courier, sorter, service, manager, franchise, entry, client, finance, analyst, dba, security_admin, auditor, regulator, liaison, label.")));
		}
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvString || v.val.string.len == 0 ||
				v.val.string.len >= NAMEDATALEN)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("role of post \"%s\" must be a name", posts[post].name)));
			load->role[post] = pnstrdup(v.val.string.val, v.val.string.len);
		}
	}
	for (int i = 0; i < CPII_NPOSTS; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(load->role[i], load->role[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("posts \"%s\" and \"%s\" have the same role",
								posts[j].name, posts[i].name)));
}

static void
make_role(Load *load, CpiiPost post)
{
	const char *name = load->role[post];
	Oid			role = get_role_oid(name, true);

	if (OidIsValid(role))
	{
		if (superuser_arg(role))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_GRANT_OPERATION),
					 errmsg("superuser role \"%s\" cannot be granted disclosures or limits", name)));
		report(load, "kept", name, "role", posts[post].name);
		return;
	}
	if (!load->dry_run)
	{
		cpii_internal_execute(psprintf("CREATE ROLE %s NOLOGIN", quote_identifier(name)),
							  0, NULL, NULL, NULL, false, 0);
		CommandCounterIncrement();
	}
	report(load, "created", name, "role", posts[post].name);
}

/* ---- levels ---- */

static CpiiLevel
level_of_letter(char letter)
{
	switch (letter)
	{
		case 'C':
			return CPII_LEVEL_CLEAR;
		case 'S':
			return CPII_LEVEL_SCOPED;
		case 'L':
			return CPII_LEVEL_LABEL;
		case 'M':
			return CPII_LEVEL_MASKED;
		case 'T':
			return CPII_LEVEL_TOKEN;
		default:
			return CPII_LEVEL_HIDDEN;
	}
}

static void
grant_level(Load *load, CpiiPost post, int class_id, CpiiLevel level,
			bool searchable)
{
	const char *class_name = cpii_class_table[class_id].name;
	const char *level_name = cpii_level_name(level);
	Oid			role = get_role_oid(load->role[post], true);
	Oid			types[5] = {OIDOID, INT4OID, TEXTOID, BOOLOID, NAMEOID};
	Datum		values[5];
	NameData	granted_by;
	bool		isnull;

	namestrcpy(&granted_by, cpii_session_actor()->login_name);
	values[0] = ObjectIdGetDatum(role);
	values[1] = Int32GetDatum(class_id);
	values[2] = CStringGetTextDatum(level_name);
	values[3] = BoolGetDatum(searchable);
	values[4] = NameGetDatum(&granted_by);
	cpii_internal_execute("SELECT d.level || CASE WHEN d.searchable THEN ', searchable' ELSE '' END"
						  " FROM courier_pii.disclosure d WHERE d.grantee = $1 AND d.class = $2 AND d.tbl IS NULL",
						  2, types, values, NULL, false, 1);
	if (SPI_processed > 0)
	{
		report(load, "kept", load->role[post], class_name,
			   TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[0],
												 SPI_tuptable->tupdesc, 1, &isnull)));
		return;
	}
	if (!load->dry_run)
		cpii_internal_execute("INSERT INTO courier_pii.disclosure (grantee, class, level, searchable, granted_by)"
							  " VALUES ($1::pg_catalog.regrole, $2, $3, $4, $5)",
							  5, types, values, NULL, false, 0);
	report(load, "granted", load->role[post], class_name,
		   psprintf("%s%s", level_name, searchable ? ", searchable" : ""));
}

static void
grant_levels(Load *load, CpiiPost post)
{
	const char *s = posts[post].levels;

	for (int class_id = CPII_CLASS_FIRST; class_id <= CPII_CLASS_LAST; class_id++)
	{
		char		letter = *s++;
		bool		searchable = *s == '+';

		if (searchable)
			s++;
		Assert(class_id == CPII_CLASS_LAST ? *s == '\0' : *s == ' ');
		if (*s == ' ')
			s++;
		grant_level(load, post, class_id, level_of_letter(letter), searchable);
	}
}

/* ---- rows ---- */

static Datum
texts(List *list)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(list), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, list)
		elems[n++] = CStringGetTextDatum((char *) lfirst(lc));
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* what a rule says, for the report */
static char *
describe_rule(const CpiiStarterRule *rule)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	appendStringInfo(&text, "%s: %s", rule->name,
					 rule->visible == NIL ? "all rows" : "");
	foreach(lc, rule->visible)
		appendStringInfo(&text, "%s%s", foreach_current_index(lc) > 0 ? "; " : "",
						 (char *) lfirst(lc));
	if (rule->scope != NIL && rule->visible == NIL)
	{
		appendStringInfoString(&text, "; in scope: ");
		foreach(lc, rule->scope)
			appendStringInfo(&text, "%s%s", foreach_current_index(lc) > 0 ? "; " : "",
							 (char *) lfirst(lc));
	}
	return text.data;
}

static void
set_rule(Load *load, Oid relid, const CpiiStarterRule *rule)
{
	const char *role_name = load->role[rule->post];
	char	   *table = cpii_qualified_name(relid);
	Oid			types[7] = {OIDOID, OIDOID, NAMEOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, NAMEOID};
	Datum		values[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};
	NameData	name;
	NameData	set_by;

	namestrcpy(&name, rule->name);
	namestrcpy(&set_by, cpii_session_actor()->login_name);
	values[0] = ObjectIdGetDatum(relid);
	values[1] = ObjectIdGetDatum(get_role_oid(role_name, true));
	values[2] = NameGetDatum(&name);
	values[3] = texts(rule->visible);
	values[4] = texts(rule->scope);
	values[5] = texts(rule->scope_columns);
	nulls[5] = rule->scope_columns == NIL ? 'n' : ' ';
	values[6] = NameGetDatum(&set_by);
	cpii_internal_execute("SELECT 1 FROM courier_pii.row_rule r"
						  " WHERE r.tbl = $1 AND r.grantee = $2 AND r.rule = $3",
						  3, types, values, NULL, false, 1);
	if (SPI_processed > 0)
	{
		report(load, "kept", role_name, table, rule->name);
		return;
	}
	if (!load->dry_run)
		cpii_internal_execute("INSERT INTO courier_pii.row_rule (tbl, grantee, rule, visible, scope, scope_columns, set_by)"
							  " VALUES ($1::pg_catalog.regclass, $2::pg_catalog.regrole, $3, $4, $5, $6::pg_catalog.name[], $7)",
							  7, types, values, nulls, false, 0);
	report(load, "ruled", role_name, table, describe_rule(rule));
}

/* whoever has a rule on the table may read its masked views */
static void
grant_views(Load *load, Oid relid, List *rules)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *views;
	ListCell   *v;
	ListCell   *r;

	views = cpii_internal_oids("SELECT m.view::pg_catalog.oid FROM courier_pii.masked_view_register m"
							   " WHERE m.tbl = $1 ORDER BY 1",
							   1, types, values);
	foreach(v, views)
	{
		Oid			view = lfirst_oid(v);
		char	   *name = cpii_qualified_name(view);
		int			last = -1;

		foreach(r, rules)
		{
			CpiiPost	post = ((CpiiStarterRule *) lfirst(r))->post;
			Oid			role = get_role_oid(load->role[post], true);

			if ((int) post == last)
				continue;
			last = post;
			if (OidIsValid(role) && pg_class_aclcheck(view, role, ACL_SELECT) == ACLCHECK_OK)
			{
				report(load, "kept", load->role[post], name, "SELECT");
				continue;
			}
			if (!load->dry_run)
			{
				cpii_internal_execute(psprintf("GRANT USAGE ON SCHEMA %s TO %s",
											   quote_identifier(get_namespace_name(get_rel_namespace(view))),
											   quote_identifier(load->role[post])),
									  0, NULL, NULL, NULL, false, 0);
				cpii_internal_execute(psprintf("GRANT SELECT ON %s TO %s", name,
											   quote_identifier(load->role[post])),
									  0, NULL, NULL, NULL, false, 0);
			}
			report(load, "granted", load->role[post], name, "SELECT");
		}
	}
}

/*
 * Rules of one table.  A table that cannot take them (its owner may not read
 * the other table, types that do not compare) is reported and left alone.
 */
static void
rule_table(Load *load, Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *table = cpii_qualified_name(relid);
	int			done = load->done;
	int			kept = load->kept;
	ListCell   *lc;

	load->waiting = NIL;
	load->wait = true;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		List	   *rules = cpii_starter_rules(relid);
		ListCell   *r;

		foreach(r, rules)
			set_rule(load, relid, (CpiiStarterRule *) lfirst(r));
		CommandCounterIncrement();
		if (!load->dry_run)
			cpii_refresh_masked_views(relid);
		grant_views(load, relid, rules);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* an end that somebody asked for, or trouble of the server, goes on */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
			error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		load->done = done;
		load->kept = kept;
		load->wait = false;
		load->waiting = NIL;
		report(load, "skipped", NULL, table, error->message);
	}
	PG_END_TRY();
	load->wait = false;
	foreach(lc, load->waiting)
		put_row(load, (Datum *) lfirst(lc));
	load->waiting = NIL;
}

/* the tables asked for, else all that are protected or have a masked view */
static List *
tables_to_rule(ArrayType *wanted)
{
	List	   *tables = NIL;

	if (wanted != NULL)
	{
		Datum	   *elems;
		bool	   *nulls;
		int			n;

		deconstruct_array(wanted, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
						  &elems, &nulls, &n);
		for (int i = 0; i < n; i++)
		{
			Oid			relid = nulls[i] ? InvalidOid : DatumGetObjectId(elems[i]);
			char		kind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

			if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
				ereport(ERROR,
						(errcode(ERRCODE_WRONG_OBJECT_TYPE),
						 errmsg("parameter \"tables\" must name tables")));
			tables = list_append_unique_oid(tables, relid);
		}
		return tables;
	}
	return cpii_internal_oids("SELECT c.oid FROM pg_catalog.pg_class c"
							  " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
							  " AND (EXISTS (SELECT 1 FROM courier_pii.protected_columns p WHERE p.tbl = c.oid)"
							  "  OR EXISTS (SELECT 1 FROM courier_pii.masked_view_register m WHERE m.tbl = c.oid))"
							  " ORDER BY c.oid::pg_catalog.regclass::pg_catalog.text COLLATE \"C\"",
							  0, NULL, NULL);
}

/* load_starter_policy(roles, tables, dry_run): what was done, row by row */
Datum
cpii_load_starter_policy(PG_FUNCTION_ARGS)
{
	Load		load;
	StringInfoData detail;
	List	   *tables;
	ListCell   *lc;

	cpii_require_duty("pii_security_admin");
	memset(&load, 0, sizeof(load));
	load.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	load.dry_run = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null", "roles")));
	InitMaterializedSRF(fcinfo, 0);
	name_roles(&load, PG_GETARG_JSONB_P(0));
	if (!load.dry_run)
		(void) cpii_require_ticket("policy",
								   psprintf("starter_policy/%s/%s",
											JsonbToCString(NULL, &PG_GETARG_JSONB_P(0)->root, 256),
											PG_ARGISNULL(1) ? "all" :
											OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(1))),
								   false);

	SPI_connect();
	for (int post = 0; post < CPII_NPOSTS; post++)
	{
		make_role(&load, post);
		grant_levels(&load, post);
	}
	if (!load.dry_run)
		cpii_policy_changed();
	tables = tables_to_rule(PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	foreach(lc, tables)
		rule_table(&load, lfirst_oid(lc));
	SPI_finish();
	if (load.dry_run)
		return (Datum) 0;
	cpii_policy_changed();

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"done\": %d, \"kept\": %d, \"tables\": %d}",
					 load.done, load.kept, list_length(tables));
	cpii_audit_note(CPII_ACT_POLICY, "load_starter_policy", "ok", detail.data);
	return (Datum) 0;
}
