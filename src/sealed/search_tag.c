/*-------------------------------------------------------------------------
 *
 * search_tag.c
 *	  Indexes over search tags, and the plans that use them.
 *
 * A btree index on a protected column keeps whole sealed values, several times
 * what an index on the text took.  An index on search_tag(column) keeps what
 * "=" compares and nothing else.  PostgreSQL finds an expression index only for
 * conditions on the expression, so "column = value" is put as "search_tag(column)
 * = search_tag(value)" where a column has such an index: conditions on the table
 * alone are replaced, once its rows are estimated, and the server looks for
 * indexes again; for joins we offer the inner index scans ourselves.
 *
 * That holds for classes that can be searched, where every value carries a
 * tag and what it is compared with is a value or a search key (search.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_am.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/classes.h"
#include "base/compat.h"
#include "sealed/custom_class.h"
#include "sealed/oids.h"
#include "sealed/seal.h"
#include "sealed/search.h"
#include "sealed/search_tag.h"

PG_FUNCTION_INFO_V1(cpii_search_tag);
PG_FUNCTION_INFO_V1(cpii_search_tags);
CPII_EXPORT Datum cpii_search_tag(PG_FUNCTION_ARGS);
CPII_EXPORT Datum cpii_search_tags(PG_FUNCTION_ARGS);

/* ---- the functions ---- */

/* class and tag of a value or search key; NULL when it carries no tag */
static bytea *
tag_of(bytea *value)
{
	const unsigned char *bytes = (const unsigned char *) VARDATA_ANY(value);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	const unsigned char *id;
	size_t		idlen;
	int			class_id;
	bytea	   *result;
	unsigned char *out;

	cpii_envelope_identity(bytes, len, &id, &idlen, &class_id);
	if (id == bytes)
		return NULL;
	result = palloc(VARHDRSZ + 2 + idlen);
	SET_VARSIZE(result, VARHDRSZ + 2 + idlen);
	out = (unsigned char *) VARDATA(result);
	out[0] = (unsigned char) (class_id >> 8);
	out[1] = (unsigned char) class_id;
	memcpy(out + 2, id, idlen);
	return result;
}

/* search_tag(sealed): from the header alone, so that an index needs no key */
Datum
cpii_search_tag(PG_FUNCTION_ARGS)
{
	bytea	   *tag = tag_of(PG_GETARG_BYTEA_PP(0));

	if (tag == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(tag);
}

/* search_tags(sealed[]): of each element */
Datum
cpii_search_tags(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	int			lower = 1;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT,
					  &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		bytea	   *tag = nulls[i] ? NULL : tag_of(DatumGetByteaPP(elems[i]));

		nulls[i] = tag == NULL;
		elems[i] = PointerGetDatum(tag);
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elems, nulls, 1, &n, &lower,
											 BYTEAOID, -1, false, TYPALIGN_INT));
}

/* ---- conditions ---- */

/* a column that has an index on its tags */
typedef struct TaggedColumn
{
	const CpiiOids *oids;
	RelOptInfo *rel;
	Node	   *expression;		/* of the index: search_tag(column) */
	Var		   *column;
} TaggedColumn;

static bool
is_column(Node *node, const TaggedColumn *tagged)
{
	return equal(cpii_strip_relabel(node), tagged->column);
}

/* can it be worked out before the table's rows are read? */
static bool
is_outside(PlannerInfo *root, Node *node, const TaggedColumn *tagged)
{
	return !bms_is_member(tagged->rel->relid, pull_varnos(root, node)) &&
		!contain_volatile_functions(node);
}

static Node *
tag_call(Oid function, Oid result, Node *arg)
{
	return (Node *) makeFuncExpr(function, result, list_make1(copyObject(arg)),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* "column = value" as a condition on the tag, or NULL */
static Expr *
condition_on_tag(PlannerInfo *root, Node *node, const TaggedColumn *tagged)
{
	const CpiiOids *o = tagged->oids;

	if (IsA(node, OpExpr))
	{
		OpExpr	   *clause = (OpExpr *) node;
		Node	   *other = NULL;
		Expr	   *equality;

		if (clause->opno != o->eq_operator)
			return NULL;
		if (is_column(linitial(clause->args), tagged))
			other = lsecond(clause->args);
		else if (is_column(lsecond(clause->args), tagged))
			other = linitial(clause->args);
		if (other == NULL || !is_outside(root, other, tagged))
			return NULL;
		equality = make_opclause(ByteaEqualOperator, BOOLOID, false,
								 (Expr *) copyObject(tagged->expression),
								 (Expr *) tag_call(o->search_tag, BYTEAOID, other),
								 InvalidOid, InvalidOid);
		((OpExpr *) equality)->opfuncid = F_BYTEAEQ;
		return equality;
	}
	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *clause = (ScalarArrayOpExpr *) node;
		ScalarArrayOpExpr *any;
		Node	   *array = cpii_strip_relabel(lsecond(clause->args));

		if (clause->opno != o->eq_operator || !clause->useOr ||
			!is_column(linitial(clause->args), tagged) ||
			exprType(array) != o->sealed_array || !is_outside(root, array, tagged))
			return NULL;
		any = makeNode(ScalarArrayOpExpr);
		any->opno = ByteaEqualOperator;
		any->opfuncid = F_BYTEAEQ;
		any->useOr = true;
		any->inputcollid = InvalidOid;
		any->args = list_make2(copyObject(tagged->expression),
							   tag_call(o->search_tags, BYTEAARRAYOID, array));
		any->location = -1;
		return (Expr *) any;
	}
	return NULL;
}

/* ---- conditions on the table alone ---- */

/* a condition with all that is on a tagged column replaced; sets *changed */
static Node *
replace_conditions(PlannerInfo *root, Node *node, List *columns, bool *changed)
{
	ListCell   *lc;

	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
	{
		BoolExpr   *old = (BoolExpr *) node;
		List	   *args = NIL;

		foreach(lc, old->args)
			args = lappend(args, replace_conditions(root, lfirst(lc), columns, changed));
		return (Node *) makeBoolExpr(old->boolop, args, old->location);
	}
	foreach(lc, columns)
	{
		Expr	   *condition = condition_on_tag(root, node, lfirst(lc));

		if (condition != NULL)
		{
			*changed = true;
			return (Node *) condition;
		}
	}
	return node;
}

/*
 * Estimates for the conditions that took the places of others.  The column's
 * statistics tell how many rows there are; those of the expression, if there
 * are any, would be the same.  The estimate is left where clause_selectivity()
 * leaves those of conditions on one table.
 */
static void
copy_estimates(PlannerInfo *root, RelOptInfo *rel, Node *from, Node *to)
{
	if (IsA(from, RestrictInfo) && IsA(to, RestrictInfo))
	{
		RestrictInfo *old = (RestrictInfo *) from;
		RestrictInfo *new = (RestrictInfo *) to;

		new->norm_selec = clause_selectivity(root, from, rel->relid, JOIN_INNER, NULL);
		if (old->orclause != NULL && new->orclause != NULL)
			copy_estimates(root, rel, (Node *) old->orclause, (Node *) new->orclause);
	}
	else if (IsA(from, BoolExpr) && IsA(to, BoolExpr))
	{
		ListCell   *lf;
		ListCell   *lt;

		forboth(lf, ((BoolExpr *) from)->args, lt, ((BoolExpr *) to)->args)
			copy_estimates(root, rel, lfirst(lf), lfirst(lt));
	}
}

/* partial indexes have lists of their own, without what their predicates say */
static void
replace_in_indexes(RelOptInfo *rel, RestrictInfo *old, RestrictInfo *new)
{
	ListCell   *lc;

	foreach(lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, lc);
		ListCell   *lr;

		if (index->indrestrictinfo == rel->baserestrictinfo)
			continue;
		foreach(lr, index->indrestrictinfo)
			if (lfirst(lr) == old)
				lfirst(lr) = new;
	}
}

static void
replace_restrictions(PlannerInfo *root, RelOptInfo *rel, List *columns)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		RestrictInfo *replaced;
		bool		changed = false;
		Node	   *clause;

		if (rinfo->pseudoconstant || !restriction_is_securely_promotable(rinfo, rel))
			continue;
		clause = replace_conditions(root, (Node *) rinfo->clause, columns, &changed);
		if (!changed)
			continue;
		replaced = CPII_RESTRICTINFO_LIKE(root, (Expr *) clause, rinfo);
		copy_estimates(root, rel, (Node *) rinfo, (Node *) replaced);
		replace_in_indexes(rel, rinfo, replaced);
		lfirst(lc) = replaced;
		any = true;
	}
	if (any)
		create_index_paths(root, rel);
}

/* ---- joins ---- */

/* how often the inner side runs: as often as the smallest outer table has rows */
static double
loops(PlannerInfo *root, Relids outer)
{
	double		result = 0;
	int			relid = -1;

	while ((relid = bms_next_member(outer, relid)) >= 0)
	{
		RelOptInfo *rel = relid < root->simple_rel_array_size ?
			root->simple_rel_array[relid] : NULL;

		if (rel != NULL && rel->rows > 0 && (result == 0 || rel->rows < result))
			result = rel->rows;
	}
	return result > 0 ? result : 1;
}

/*
 * Inner scans for one join condition.  A bitmap scan tests the condition again
 * unless it is of an equivalence class; that would count a search twice.
 */
static void
add_join_paths(PlannerInfo *root, IndexOptInfo *index, RestrictInfo *rinfo,
			   Expr *condition, Relids outer)
{
	RelOptInfo *rel = index->rel;
	double		count = loops(root, outer);
	RestrictInfo *qual = make_simple_restrictinfo(root, condition);
	IndexClause *clause = makeNode(IndexClause);
	IndexPath  *path;

	/* see copy_estimates() */
	qual->clause_relids = bms_make_singleton(rel->relid);
	qual->norm_selec = clause_selectivity(root, (Node *) rinfo, rel->relid,
										  JOIN_INNER, NULL);
	clause->rinfo = rinfo;
	clause->indexquals = list_make1(qual);
	clause->lossy = false;
	clause->indexcol = 0;
	clause->indexcols = NIL;
	path = create_index_path(root, index, list_make1(clause), NIL, NIL, NIL,
							 ForwardScanDirection, false, outer, count, false);
	add_path(rel, (Path *) path);
	if (index->amhasgetbitmap && rinfo->parent_ec != NULL)
		add_path(rel, (Path *) create_bitmap_heap_path(root, rel, (Path *) path,
													   outer, count, 0));
}

static bool
member_is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
				 EquivalenceMember *em, void *arg)
{
	return is_column((Node *) em->em_expr, (const TaggedColumn *) arg);
}

static void
offer_joins(PlannerInfo *root, IndexOptInfo *index, TaggedColumn *tagged)
{
	RelOptInfo *rel = tagged->rel;
	List	   *joins = NIL;
	List	   *seen = NIL;
	ListCell   *lc;

	foreach(lc, rel->joininfo)
		if (join_clause_is_movable_to(lfirst_node(RestrictInfo, lc), rel))
			joins = lappend(joins, lfirst(lc));
	if (rel->has_eclass_joins)
		joins = list_concat(joins,
							generate_implied_equalities_for_column(root, rel, member_is_column,
																   tagged, rel->lateral_referencers));
	foreach(lc, joins)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		Expr	   *condition = condition_on_tag(root, (Node *) rinfo->clause, tagged);
		Relids		outer;
		ListCell   *ls;
		bool		again = false;

		if (condition == NULL || !restriction_is_securely_promotable(rinfo, rel))
			continue;
		outer = bms_union(rinfo->clause_relids, rel->lateral_relids);
		outer = bms_del_member(outer, rel->relid);
		foreach(ls, seen)
			if (bms_equal(outer, lfirst(ls)))
				again = true;
		if (again || bms_is_empty(outer))
			continue;
		seen = lappend(seen, outer);
		add_join_paths(root, index, rinfo, condition, outer);
	}
}

/* the column whose tags the index is made of; NULL for all other indexes */
static TaggedColumn *
tagged_column(RelOptInfo *rel, IndexOptInfo *index)
{
	const CpiiOids *oids;
	TaggedColumn *tagged;
	FuncExpr   *call;
	Node	   *column;
	int			class_id;

	/* what most indexes are told apart by, first */
	if (index->indexprs == NIL || index->relam != BTREE_AM_OID ||
		index->indexkeys[0] != 0 || !IsA(linitial(index->indexprs), FuncExpr) ||
		(index->indpred != NIL && !index->predOK))
		return NULL;
	call = linitial_node(FuncExpr, index->indexprs);
	oids = cpii_oids();
	if (oids == NULL || call->funcid != oids->search_tag)
		return NULL;
	column = cpii_strip_relabel(linitial(call->args));
	class_id = cpii_expression_class(column);
	if (!IsA(column, Var) || class_id == 0 || !cpii_class_is_searchable(class_id))
		return NULL;
	tagged = palloc(sizeof(TaggedColumn));
	tagged->oids = oids;
	tagged->rel = rel;
	tagged->expression = (Node *) call;
	tagged->column = (Var *) column;
	return tagged;
}

void
cpii_search_tag_paths(PlannerInfo *root, RelOptInfo *rel)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, lc);
		TaggedColumn *tagged = tagged_column(rel, index);

		if (tagged == NULL)
			continue;
		columns = lappend(columns, tagged);
		offer_joins(root, index, tagged);
	}
	if (columns != NIL)
		replace_restrictions(root, rel, columns);
}
