/*-------------------------------------------------------------------------
 *
 * starter_rules.c
 *	  Row rules of the starter policy, from the names of columns.
 *
 * Courier databases look alike: waybills with branches and a client, tasks of
 * couriers with a date, complaints with somebody who works on them, batches of
 * data entry.  A table is ruled when it looks like one of these or points to a
 * waybill; of what does not look familiar only those posts see rows that see
 * all rows (masked).  Whoever may make tables in the schema could make one that
 * looks familiar: what is looked at beside a table has its owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/attnum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "policy/starter.h"
#include "sealed/seal.h"

/* what was found around a table */
typedef struct Surroundings
{
	Oid			relid;
	const char *waybill_key;	/* column of the table that names a waybill */
	bool		is_waybill;
	Oid			waybill;		/* the table of waybills beside it, perhaps itself */
	Oid			task;			/* tasks of couriers */
	const char *task_waybill;
	const char *task_courier;
	const char *task_date;
	Oid			complaint;
	Oid			batch;			/* batches of data entry */
} Surroundings;

static const char *const waybill_keys[] = {"waybill_id", "shipment_id", "parcel_id", "order_id", NULL};
static const char *const courier_columns[] = {"courier_no", "courier_staff_no", "staff_no", NULL};
static const char *const date_columns[] = {"task_date", "work_date", "delivery_date", NULL};
static const char *const branch_columns[] = {
	"dest_branch", "origin_branch", "branch", "branch_code", "org_code", "station", NULL
};
static const char *const client_columns[] = {"client_id", "client_code", "client", NULL};
static const char *const vendor_columns[] = {"vendor_role", NULL};
static const char *const receiver_prefixes[] = {"recv_", "receiver_", "recipient_", "consignee_", "to_", NULL};
static const char *const sender_prefixes[] = {"sender_", "send_", "consignor_", "from_", NULL};

static const char *
first_column(Oid relid, const char *const *names)
{
	for (; OidIsValid(relid) && *names; names++)
		if (get_attnum(relid, *names) > 0)
			return *names;
	return NULL;
}

static bool
has_column(Oid relid, const char *name)
{
	return OidIsValid(relid) && get_attnum(relid, name) > 0;
}

/* tests compare with codes and names: a protected column cannot be tested */
static bool
is_text_column(Oid relid, const char *name)
{
	Oid			type = getBaseType(get_atttype(relid, get_attnum(relid, name)));

	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID ||
		type == NAMEOID;
}

static bool
is_plain_column(Oid relid, const char *name)
{
	return cpii_class_of_type(get_atttype(relid, get_attnum(relid, name)), -1) == 0;
}

/*
 * The first table of the schema, by name, for which the test holds.  Somebody
 * else's table has no say in who sees rows: it must be of the same owner, or of
 * a superuser.
 */
static Oid
find_table(Oid relid, bool (*fits) (Oid candidate))
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	ListCell   *lc;

	foreach(lc, cpii_internal_oids("SELECT c.oid FROM pg_catalog.pg_class t"
								   " JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace"
								   " JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
								   " WHERE t.oid = $1 AND (c.relowner = t.relowner OR r.rolsuper)"
								   " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
								   " ORDER BY c.relname",
								   1, types, values))
		if (fits(lfirst_oid(lc)))
			return lfirst_oid(lc);
	return InvalidOid;
}

static bool
looks_like_waybills(Oid relid)
{
	return has_column(relid, "id") && has_column(relid, "waybill_no") &&
		first_column(relid, waybill_keys) == NULL;
}

static bool
looks_like_tasks(Oid relid)
{
	return first_column(relid, waybill_keys) != NULL &&
		first_column(relid, courier_columns) != NULL &&
		first_column(relid, date_columns) != NULL;
}

static bool
looks_like_complaints(Oid relid)
{
	return first_column(relid, waybill_keys) != NULL &&
		has_column(relid, "assignee") && has_column(relid, "status");
}

static bool
looks_like_batches(Oid relid)
{
	return has_column(relid, "id") && first_column(relid, vendor_columns) != NULL;
}

static void
look_around(Oid relid, Surroundings *s)
{
	s->relid = relid;
	s->waybill_key = first_column(relid, waybill_keys);
	s->is_waybill = looks_like_waybills(relid);
	s->waybill = s->is_waybill ? relid : find_table(relid, looks_like_waybills);
	s->task = find_table(relid, looks_like_tasks);
	s->task_waybill = first_column(s->task, waybill_keys);
	s->task_courier = first_column(s->task, courier_columns);
	s->task_date = first_column(s->task, date_columns);
	s->complaint = find_table(relid, looks_like_complaints);
	s->batch = find_table(relid, looks_like_batches);
}

static void
add_rule(List **rules, CpiiPost post, const char *name, List *visible,
		 List *scope, List *scope_columns)
{
	CpiiStarterRule *rule = palloc(sizeof(CpiiStarterRule));

	rule->post = post;
	rule->name = pstrdup(name);
	rule->visible = visible;
	rule->scope = scope;
	rule->scope_columns = scope_columns;
	*rules = lappend(*rules, rule);
}

/* "column in schema.table.key where tests" */
static char *
in_table(const char *column, Oid table, const char *key, const char *tests)
{
	return psprintf("%s in %s.%s.%s where %s", quote_identifier(column),
					quote_identifier(get_namespace_name(get_rel_namespace(table))),
					quote_identifier(get_rel_name(table)),
					quote_identifier(key), tests);
}

static bool
begins_with_any(const char *name, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (strncmp(name, *prefixes, strlen(*prefixes)) == 0)
			return true;
	return false;
}

/* columns of the table without those of the other side; NIL when it has none */
static List *
columns_without(Oid relid, const char *const *prefixes)
{
	List	   *columns = NIL;
	bool		left_out = false;
	char	   *name;

	for (AttrNumber attnum = 1;
		 (name = get_attname(relid, attnum, true)) != NULL; attnum++)
	{
		if (get_attnum(relid, name) != attnum)
			continue;			/* dropped */
		if (begins_with_any(name, prefixes))
			left_out = true;
		else
			columns = lappend(columns, name);
	}
	return left_out ? columns : NIL;
}

/* the tests on a courier's own task; kind NULL: of either kind */
static char *
task_tests(const Surroundings *s, const char *kind)
{
	StringInfoData tests;

	initStringInfo(&tests);
	appendStringInfo(&tests, "%s = actor.staff_no and %s = today",
					 quote_identifier(s->task_courier),
					 quote_identifier(s->task_date));
	if (has_column(s->task, "status"))
		appendStringInfoString(&tests, " and status = 'open'");
	if (kind != NULL)
		appendStringInfo(&tests, " and kind = '%s'", kind);
	return tests.data;
}

/* own open tasks of today; of a delivery the recipient, of a pick-up the sender */
static void
courier_rules(const Surroundings *s, List **rules)
{
	const char *key = s->is_waybill ? "id" : s->waybill_key;
	char	   *condition;

	if (!OidIsValid(s->task))
		return;
	if (s->relid == s->task)
	{
		List	   *own = list_make2(psprintf("%s = actor.staff_no", quote_identifier(s->task_courier)),
									 psprintf("%s = today", quote_identifier(s->task_date)));

		if (has_column(s->task, "status"))
			own = lappend(own, "status = 'open'");
		add_rule(rules, CPII_POST_COURIER, "own_task", own, own, NIL);
		return;
	}
	if (key == NULL)
		return;
	if (s->is_waybill && has_column(s->task, "kind"))
	{
		condition = in_table(key, s->task, s->task_waybill, task_tests(s, "deliver"));
		add_rule(rules, CPII_POST_COURIER, "own_delivery", list_make1(condition),
				 list_make1(condition), columns_without(s->relid, sender_prefixes));
		condition = in_table(key, s->task, s->task_waybill, task_tests(s, "pickup"));
		add_rule(rules, CPII_POST_COURIER, "own_pickup", list_make1(condition),
				 list_make1(condition), columns_without(s->relid, receiver_prefixes));
		return;
	}
	condition = in_table(key, s->task, s->task_waybill, task_tests(s, NULL));
	add_rule(rules, CPII_POST_COURIER, "own_task", list_make1(condition),
			 list_make1(condition), NIL);
}

/* parcels of the own branch and what is below it */
static void
branch_rules(const Surroundings *s, CpiiPost post, bool in_scope, List **rules)
{
	bool		direct = false;

	for (int pass = 0; pass < 2; pass++)
	{
		Oid			table = pass == 0 ? s->relid : s->waybill;

		/* by the table's own branch, else by that of its waybill */
		if (pass == 1 && (direct || s->is_waybill || s->waybill_key == NULL ||
						  !OidIsValid(s->waybill)))
			break;
		for (const char *const *column = branch_columns; *column; column++)
		{
			char	   *condition;

			if (!has_column(table, *column) || !is_text_column(table, *column))
				continue;
			condition = psprintf("%s within actor.org", *column);
			if (pass == 1)
				condition = in_table(s->waybill_key, table, "id", condition);
			direct = true;
			add_rule(rules, post, psprintf("own_%s", *column), list_make1(condition),
					 in_scope ? list_make1(condition) : NIL, NIL);
		}
	}
}

/* all rows masked; clear those of one's own open complaints */
static void
service_rules(const Surroundings *s, List **rules)
{
	const char *key = s->is_waybill ? "id" : s->waybill_key;
	List	   *scope = NIL;

	if (s->relid == s->complaint)
		scope = list_make2("assignee = actor.staff_no", "status = 'open'");
	else if (OidIsValid(s->complaint) && key != NULL)
		scope = list_make1(in_table(key, s->complaint,
									first_column(s->complaint, waybill_keys),
									"assignee = actor.staff_no and status = 'open'"));
	add_rule(rules, CPII_POST_SERVICE, "own_complaints", NIL, scope, NIL);
}

/* the batches that the person's login entered */
static void
entry_rules(const Surroundings *s, List **rules)
{
	const char *vendor = first_column(s->batch, vendor_columns);
	char	   *condition;

	if (vendor == NULL)
		return;
	condition = psprintf("%s = actor.login", vendor);
	if (s->relid != s->batch)
	{
		if (!has_column(s->relid, "batch_id"))
			return;
		condition = in_table("batch_id", s->batch, "id", condition);
	}
	add_rule(rules, CPII_POST_ENTRY, "own_batch", list_make1(condition),
			 list_make1(condition), NIL);
}

/* the waybills of the client company that the person works for */
static void
client_rules(const Surroundings *s, List **rules)
{
	const char *column = first_column(s->relid, client_columns);
	Oid			table = s->relid;
	char	   *condition;

	if (column == NULL && s->waybill_key != NULL)
	{
		table = s->waybill;
		column = first_column(table, client_columns);
	}
	if (column == NULL || !is_plain_column(table, column))
		return;
	condition = psprintf("%s = actor.client", column);
	if (table != s->relid)
		condition = in_table(s->waybill_key, table, "id", condition);
	add_rule(rules, CPII_POST_CLIENT, "own_client", list_make1(condition), NIL, NIL);
}

List *
cpii_starter_rules(Oid relid)
{
	static const CpiiPost see_all[] = {
		CPII_POST_ANALYST, CPII_POST_AUDITOR, CPII_POST_REGULATOR, CPII_POST_LABEL
	};
	Surroundings s;
	List	   *rules = NIL;

	look_around(relid, &s);
	courier_rules(&s, &rules);
	branch_rules(&s, CPII_POST_SORTER, false, &rules);
	service_rules(&s, &rules);
	branch_rules(&s, CPII_POST_MANAGER, false, &rules);
	branch_rules(&s, CPII_POST_FRANCHISE, false, &rules);
	entry_rules(&s, &rules);
	client_rules(&s, &rules);
	branch_rules(&s, CPII_POST_FINANCE, true, &rules);
	for (int i = 0; i < lengthof(see_all); i++)
		add_rule(&rules, see_all[i], "all_rows", NIL, NIL, NIL);
	return rules;
}
