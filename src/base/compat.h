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

/*
 * Symbols that the server must find by name; the rest of the library is hidden.
 * Before 16 the server's macros (PG_MODULE_MAGIC, PG_FUNCTION_INFO_V1) do not
 * mark what they declare, so they are told to.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
#define CPII_EXPORT PGDLLEXPORT

/* ExecutorRun lost its execute_once argument in 18 */
#if PG_VERSION_NUM >= 180000
#define CPII_EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define CPII_EXECUTOR_RUN_ARGS queryDesc, direction, count
#else
#define CPII_EXECUTOR_RUN_PARAMS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once
#define CPII_EXECUTOR_RUN_ARGS queryDesc, direction, count, execute_once
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

#endif							/* CPII_COMPAT_H */
