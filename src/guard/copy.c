/*-------------------------------------------------------------------------
 *
 * copy.c
 *	  COPY: of a masked view, of sealed values, into a register.
 *
 * COPY reads tables only, so one of a masked view becomes one of a query; so
 * does one of a table whose rows somebody's budget limits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/record.h"
#include "audit/statement.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "guard/guard.h"
#include "guard/ticket.h"
#include "people/duty.h"
#include "policy/relation.h"

/* COPY masked_view TO becomes COPY (SELECT ... FROM masked_view) TO */
static CopyStmt *
copy_of_view(CopyStmt *copy)
{
	CopyStmt   *result = copyObject(copy);
	SelectStmt *select = makeNode(SelectStmt);
	ListCell   *lc;

	if (copy->attlist == NIL)
	{
		ColumnRef  *all = makeNode(ColumnRef);
		ResTarget  *target = makeNode(ResTarget);

		all->fields = list_make1(makeNode(A_Star));
		all->location = -1;
		target->val = (Node *) all;
		target->location = -1;
		select->targetList = list_make1(target);
	}
	foreach(lc, copy->attlist)
	{
		ColumnRef  *column = makeNode(ColumnRef);
		ResTarget  *target = makeNode(ResTarget);

		column->fields = list_make1(copyObject(lfirst(lc)));
		column->location = -1;
		target->val = (Node *) column;
		target->location = -1;
		select->targetList = lappend(select->targetList, target);
	}
	select->fromClause = list_make1(copyObject(copy->relation));
	result->relation = NULL;
	result->attlist = NIL;
	result->query = (Node *) select;
	return result;
}

/*
 * COPY table TO as COPY (SELECT its columns FROM ONLY table) TO: so its rows
 * pass the meter one by one.
 */
static CopyStmt *
copy_of_table(CopyStmt *copy, Oid relid)
{
	CopyStmt   *named = copyObject(copy);
	CopyStmt   *result;

	if (named->attlist == NIL)
	{
		Relation	rel = table_open(relid, AccessShareLock);

		for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

			if (!att->attisdropped && !att->attgenerated)
				named->attlist = lappend(named->attlist,
										 makeString(pstrdup(NameStr(att->attname))));
		}
		table_close(rel, AccessShareLock);
	}
	named->relation->inh = false;
	result = copy_of_view(named);
	return result;
}

/* COPY FROM into a register of ours that is still empty: pg_restore */
static void
note_restore(Oid relid)
{
	if (cpii_register_empty(relid) && superuser() && !cpii_duties_sealed())
	{
		if (strcmp(get_rel_name(relid), "duty_seal") == 0)
			cpii_duties_restored();
		cpii_access_allow_restore(relid);
		cpii_audit_note(CPII_ACT_POLICY, "restore", "ok",
						psprintf("{\"register\": \"%s\"}", get_rel_name(relid)));
	}
}

static void
replace_copy(PlannedStmt **run, CopyStmt *copy)
{
	*run = copyObject(*run);
	(*run)->utilityStmt = (Node *) copy;
}

bool
cpii_copy_enter(CopyStmt *copy, PlannedStmt **run)
{
	Oid			relid = copy->relation == NULL ? InvalidOid :
		RangeVarGetRelid(copy->relation, NoLock, true);
	int			flags = OidIsValid(relid) ? cpii_relation_flags(relid) : 0;
	bool		metered;

	if (copy->is_from)
	{
		cpii_statement.writing = true;
		if (flags & CPII_REL_PROTECTED)
		{
			cpii_statement_touch(relid);
			cpii_account_action(CPII_ACT_WRITE);
		}
		if ((flags & CPII_REL_OURS) && !(flags & CPII_REL_AUDIT))
			note_restore(relid);
		return false;
	}
	cpii_account_action(CPII_ACT_EXPORT);
	if (copy->filename != NULL)
		cpii_statement.target = copy->is_program ? "program" : "file";
	if (!(flags & CPII_REL_PROTECTED))
		return false;
	if (OidIsValid(cpii_masked_view_base(relid)))
	{
		replace_copy(run, copy_of_view(copy));
		return false;
	}

	/* sealed values leave: recorded before the first row */
	cpii_statement_touch(relid);
	if (cpii_sealed_export == CPII_SEALED_EXPORT_TICKET &&
		!cpii_session_has_duty("pii_backup"))
		(void) cpii_ticket_redeem_all("export", &relid, 1);
	metered = get_rel_relkind(relid) == RELKIND_RELATION &&
		cpii_meter_is_limited(CPII_BUDGET_SEALED);
	if (metered)
		replace_copy(run, copy_of_table(copy, relid));
	cpii_account_begin(true);
	return !metered;
}
