/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every PG_VERSION_NUM test of the project lives here.
 *
 * PostgreSQL 15 is the floor; 15, 16, 17 and 18 are supported.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_COMPAT_H
#define CPII_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "courier_pii needs PostgreSQL 15 or later"
#endif

/* the macros of variable-length values moved out of postgres.h in 16 */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Symbols that the server must find by name; the rest of the library is
 * hidden.  15 leaves PGDLLEXPORT empty, and its PG_FUNCTION_INFO_V1 and
 * PG_MODULE_MAGIC use it for functions of their own that must be found too.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
#define CPII_EXPORT PGDLLEXPORT

/* a function that does not return is marked in front since 18 */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* base 64 works on unsigned bytes since 18 */
#if PG_VERSION_NUM >= 180000
#define CPII_BASE64_BYTES uint8
#else
#define CPII_BASE64_BYTES char
#endif

/* the JSON lexer got a place for its state in 17 */
#if PG_VERSION_NUM >= 170000
#define CPII_JSON_LEXER(text, len) \
	makeJsonLexContextCstringLen(NULL, (text), (len), GetDatabaseEncoding(), true)
#else
#define CPII_JSON_LEXER(text, len) \
	makeJsonLexContextCstringLen((text), (len), GetDatabaseEncoding(), true)
#endif

/* a condition of the same standing as another one; outer joins changed in 16 */
#if PG_VERSION_NUM >= 160000
#define CPII_RESTRICTINFO_LIKE(root, clause, rinfo) \
	make_restrictinfo((root), (clause), (rinfo)->is_pushed_down, \
					  (rinfo)->has_clone, (rinfo)->is_clone, \
					  (rinfo)->pseudoconstant, (rinfo)->security_level, \
					  (rinfo)->required_relids, (rinfo)->incompatible_relids, \
					  (rinfo)->outer_relids)
#else
#define CPII_RESTRICTINFO_LIKE(root, clause, rinfo) \
	make_restrictinfo((root), (clause), (rinfo)->is_pushed_down, \
					  (rinfo)->outerjoin_delayed, \
					  (rinfo)->pseudoconstant, (rinfo)->security_level, \
					  (rinfo)->required_relids, (rinfo)->outer_relids, \
					  (rinfo)->nullable_relids)
#endif

/* ExecutorRun lost its execute_once argument in 18 */
#if PG_VERSION_NUM >= 180000
#define CPII_EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define CPII_EXECUTOR_RUN_ARGS queryDesc, direction, count
#define CPII_EXECUTE_ONCE false
#else
#define CPII_EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once
#define CPII_EXECUTOR_RUN_ARGS queryDesc, direction, count, execute_once
#define CPII_EXECUTE_ONCE execute_once
#endif

/* PortalRun lost its run_once argument in 18 */
#if PG_VERSION_NUM >= 180000
#define CPII_PORTAL_RUN(portal, dest) \
	PortalRun((portal), FETCH_ALL, true, (dest), (dest), NULL)
#else
#define CPII_PORTAL_RUN(portal, dest) \
	PortalRun((portal), FETCH_ALL, true, true, (dest), (dest), NULL)
#endif

/* the permission hook got the permission infos in 16 */
#if PG_VERSION_NUM >= 160000
#define CPII_CHECK_PERMS_PARAMS \
	List *rangeTable, List *permInfos, bool ereport_on_violation
#define CPII_CHECK_PERMS_ARGS rangeTable, permInfos, ereport_on_violation
#else
#define CPII_CHECK_PERMS_PARAMS List *rangeTable, bool ereport_on_violation
#define CPII_CHECK_PERMS_ARGS rangeTable, ereport_on_violation
#endif

/*
 * A row lock (FOR SHARE and the like, also of a foreign key's check) asks for
 * the right to update, but names no column to be updated: no change.
 */
#define CPII_REQUIRED(p) \
	((p)->updatedCols == NULL ? \
	 ((p)->requiredPerms & ~(AclMode) ACL_UPDATE) : (p)->requiredPerms)

/* walk the permissions that hook is asked about */
#if PG_VERSION_NUM >= 160000
#define CPII_FOREACH_PERMISSION(lc, oid, mode) \
	foreach(lc, permInfos) \
		if (((oid) = lfirst_node(RTEPermissionInfo, lc)->relid), \
			((mode) = CPII_REQUIRED(lfirst_node(RTEPermissionInfo, lc))) != 0)
#else
#define CPII_FOREACH_PERMISSION(lc, oid, mode) \
	foreach(lc, rangeTable) \
		if (((oid) = lfirst_node(RangeTblEntry, lc)->relid), \
			((mode) = CPII_REQUIRED(lfirst_node(RangeTblEntry, lc))) != 0 && \
			lfirst_node(RangeTblEntry, lc)->rtekind == RTE_RELATION)
#endif

/*
 * A view's subquery remembers its relation, so that a whole-row reference has
 * the view's row type.  Once such a subquery has more outputs than the view it
 * must forget; since 16 the permission check hangs on it and moves to a range
 * table entry of its own (as 15 has anyway).
 */
#if PG_VERSION_NUM >= 160000
#define CPII_FORGET_VIEW(query, rte) \
	do { \
		if (OidIsValid((rte)->relid)) \
		{ \
			RangeTblEntry *check_ = makeNode(RangeTblEntry); \
			check_->rtekind = RTE_RELATION; \
			check_->relid = (rte)->relid; \
			check_->relkind = (rte)->relkind; \
			check_->rellockmode = (rte)->rellockmode; \
			check_->perminfoindex = (rte)->perminfoindex; \
			check_->eref = makeAlias("view", NIL); \
			check_->inh = false; \
			(query)->rtable = lappend((query)->rtable, check_); \
			(rte)->relid = InvalidOid; \
			(rte)->relkind = 0; \
			(rte)->rellockmode = 0; \
			(rte)->perminfoindex = 0; \
		} \
	} while (0)
#else
#define CPII_FORGET_VIEW(query, rte) ((rte)->relid = InvalidOid)
#endif

/*
 * Does this entry of a plan's range table name a relation?  Since 16 a view's
 * is the subquery that it became; before, it was an entry of its own.
 */
#if PG_VERSION_NUM >= 160000
#define CPII_NAMES_RELATION(rte) \
	(OidIsValid((rte)->relid) && \
	 ((rte)->rtekind == RTE_RELATION || (rte)->rtekind == RTE_SUBQUERY))
#else
#define CPII_NAMES_RELATION(rte) \
	(OidIsValid((rte)->relid) && (rte)->rtekind == RTE_RELATION)
#endif

/*
 * Since 18 what a query groups by stands in a range table entry, and outputs
 * and HAVING refer to that.  CPII_FLATTEN_GROUP puts the expressions where they
 * are referred to, as they were before 18; the planner does the same later.
 * With grouping sets they are not the same values, and stay.
 */
#if PG_VERSION_NUM >= 180000
#define CPII_IS_GROUP(rte) ((rte)->rtekind == RTE_GROUP)
#define CPII_GROUP_EXPRS(rte) ((rte)->groupexprs)
#define CPII_FLATTEN_GROUP(query) \
	do { \
		if ((query)->hasGroupRTE && (query)->groupingSets == NIL) \
		{ \
			(query)->targetList = (List *) \
				flatten_group_exprs(NULL, (query), (Node *) (query)->targetList); \
			(query)->havingQual = \
				flatten_group_exprs(NULL, (query), (query)->havingQual); \
		} \
	} while (0)
#else
#define CPII_IS_GROUP(rte) false
#define CPII_GROUP_EXPRS(rte) NIL
#define CPII_FLATTEN_GROUP(query) ((void) 0)
#endif

/* is a column NOT NULL, and were its rows checked?  Since 18 they need not be. */
#if PG_VERSION_NUM >= 180000
#define CPII_HOLDS_NO_NULL(desc, i) \
	(TupleDescCompactAttr((desc), (i))->attnullability == ATTNULLABLE_VALID)
#else
#define CPII_HOLDS_NO_NULL(desc, i) (TupleDescAttr((desc), (i))->attnotnull)
#endif

/*
 * Can a member use the role?  Since 16 one may have neither its rights nor SET
 * ROLE, but only the option to grant it, as whoever made it without superuser.
 */
#if PG_VERSION_NUM >= 160000
#define CPII_CAN_USE_ROLE(member, role) \
	(member_can_set_role((member), (role)) || has_privs_of_role((member), (role)))
#else
#define CPII_CAN_USE_ROLE(member, role) true
#endif

/*
 * Since 16 a membership hangs on the grantor's option to grant it, and goes
 * with that.  SQL that gives what role $1 granted once more, with nobody's help:
 * name of the role, of the member, and the statement; NULL where it is not needed.
 */
#if PG_VERSION_NUM >= 160000
#define CPII_REVOKE_MEMBERSHIP " CASCADE"
#define CPII_GRANT_AGAIN \
	"SELECT g.rolname, w.rolname, pg_catalog.format('GRANT %I TO %I WITH ADMIN %s, INHERIT %s, SET %s'," \
	" g.rolname, w.rolname, pg_catalog.bool_or(m.admin_option)::pg_catalog.text," \
	" pg_catalog.bool_or(m.inherit_option)::pg_catalog.text, pg_catalog.bool_or(m.set_option)::pg_catalog.text)" \
	" FROM pg_catalog.pg_auth_members m" \
	" JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles w ON w.oid = m.member" \
	" GROUP BY g.rolname, w.rolname HAVING pg_catalog.bool_or(m.grantor = $1::pg_catalog.oid)" \
	" ORDER BY g.rolname, w.rolname"
#else
#define CPII_REVOKE_MEMBERSHIP ""
#define CPII_GRANT_AGAIN NULL
#endif

/* functions of the server that tell which value of a file was passed over (17) */
#define CPII_TELLS_SKIPPED_VALUE(funcname) \
	(strcmp((funcname), "CopyFromTextLikeOneRow") == 0 || \
	 strcmp((funcname), "NextCopyFrom") == 0)

/* autovacuum's processes were asked for by another name before 17 */
#if PG_VERSION_NUM >= 170000
#define CPII_IS_AUTOVACUUM() (AmAutoVacuumWorkerProcess() || AmAutoVacuumLauncherProcess())
#else
#define CPII_IS_AUTOVACUUM() (IsAutoVacuumWorkerProcess() || IsAutoVacuumLauncherProcess())
#endif

/* number of this process in the process table */
#if PG_VERSION_NUM >= 170000
#define CPII_MY_PROC_NUMBER MyProcNumber
#else
#define CPII_MY_PROC_NUMBER (MyProc->pgprocno)
#endif

/* a session's place among all that there can be; negative when it has none */
#if PG_VERSION_NUM >= 170000
#define CPII_MY_BACKEND_PLACE ((int) MyProcNumber)
#else
#define CPII_MY_BACKEND_PLACE (MyBackendId - 1)
#endif

/* does an (ordered) append leave partitions out when it starts? */
#if PG_VERSION_NUM >= 180000
#define CPII_IS_PRUNED(append) ((append)->part_prune_index >= 0)
#else
#define CPII_IS_PRUNED(append) ((append)->part_prune_info != NULL)
#endif

/*
 * A background worker, not a client's session.  The marks that the server keeps
 * (isBackgroundWorker, isRegularBackend since 18) count replication connections
 * with the workers, and those run SQL of their clients, too.
 */
#define CPII_IS_WORKER_PROC(proc) \
	((proc)->procgloballist == &ProcGlobal->bgworkerFreeProcs)

/* the authenticated identity moved in 16 */
#if PG_VERSION_NUM >= 160000
#define CPII_AUTHN_ID() (MyClientConnectionInfo.authn_id)
#else
#define CPII_AUTHN_ID() (MyProcPort ? MyProcPort->authn_id : NULL)
#endif

#if PG_VERSION_NUM >= 160000
#define cpii_proc_ownercheck(oid, role) \
	object_ownercheck(ProcedureRelationId, (oid), (role))
#define cpii_class_ownercheck(oid, role) \
	object_ownercheck(RelationRelationId, (oid), (role))
#define cpii_namespace_aclcheck(oid, role, mode) \
	object_aclcheck(NamespaceRelationId, (oid), (role), (mode))
#else
#define cpii_proc_ownercheck(oid, role) pg_proc_ownercheck((oid), (role))
#define cpii_class_ownercheck(oid, role) pg_class_ownercheck((oid), (role))
#define cpii_namespace_aclcheck(oid, role, mode) \
	pg_namespace_aclcheck((oid), (role), (mode))
#endif

/* a setting of the server by name: needs utils/guc_tables.h */
#if PG_VERSION_NUM >= 160000
#define cpii_find_setting(name) find_option((name), false, true, DEBUG5)
#else
#define cpii_find_setting(name) cpii_search_setting(name)
#define CPII_DEFINE_SEARCH_SETTING \
static struct config_generic * \
cpii_search_setting(const char *name) \
{ \
	struct config_generic **all = get_guc_variables(); \
	int			n = GetNumConfigOptions(); \
	for (int i = 0; i < n; i++) \
		if (strcmp(all[i]->name, name) == 0) \
			return all[i]; \
	return NULL; \
}
#endif
#ifndef CPII_DEFINE_SEARCH_SETTING
#define CPII_DEFINE_SEARCH_SETTING
#endif

#endif							/* CPII_COMPAT_H */
