/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  The policy tables, read into one cache of this backend.
 *
 * The cache is about one person (authenticated and outer role) and is void as
 * soon as a policy table, a role or a membership changes (relation and system
 * cache invalidations, which also reach standbys), the person changes, or an
 * entry lapses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_POLICY_CATALOG_H
#define CPII_POLICY_CATALOG_H

#include "audit/statement.h"
#include "base/classes.h"
#include "policy/matrix.h"

typedef struct CpiiLimits
{
	int64		per_statement;	/* clear values; -1 = unlimited */
	int64		per_hour;
	int64		per_day;
} CpiiLimits;

/*
 * What the person who is acting may see of a class, here and now.  relid and
 * attnum name the column of the base table when known (0 otherwise).
 */
extern CpiiLevel cpii_policy_level(int class_id, Oid relid, AttrNumber attnum);
extern bool cpii_policy_searchable(int class_id);

/*
 * Likewise for one value, with what a disclosure ticket of the session adds; an
 * entry that hides the class, a gate, and being superuser win over a ticket.
 */
extern CpiiLevel cpii_policy_value_level(int class_id, Oid relid,
										 AttrNumber attnum, const bytea *value);

/* may the person be shown any value in clear, here or in some row's scope? */
extern bool cpii_policy_may_show_clear(void);

/*
 * Installed by the guard: the level that a value has with the session's ticket.
 * A disclosure ticket widens "level" if it may, an export ticket may narrow it.
 */
typedef CpiiLevel (*CpiiTicketLevel) (int class_id, Oid relid,
									  const bytea *value, CpiiLevel level,
									  bool may_widen);
extern CpiiTicketLevel cpii_ticket_level_hook;

/* limits of the person: the widest of their entries, else the defaults */
extern CpiiLimits cpii_policy_limits(CpiiBudget budget);

/* what somebody without an entry may take */
extern CpiiLimits cpii_policy_default_limits(CpiiBudget budget);

/*
 * Would an entry with these limits (statement, hour, day; -1 = unlimited) allow
 * anybody more than now: than the role's entry, than the defaults when there is
 * none, or than another entry of somebody who has the role?
 */
extern bool cpii_limits_raised(Oid grantee, CpiiBudget budget,
							   const int64 wanted[3]);
/* "1000/5000/unlimited": limits as the object of a ticket names them */
extern char *cpii_limits_text(const int64 limits[3]);

/* the limits of the person who acts, from the registers (for the cache) */
extern void cpii_limits_load(bool superuser_person,
							 CpiiLimits limits[CPII_NBUDGETS]);

/* budgets by name: clear, probes, masked, sealed */
extern const char *cpii_budget_name(CpiiBudget budget);
extern bool cpii_budget_by_name(const char *name, CpiiBudget *budget);

/*
 * Does the person act in this role: a member by login (ignoring superuser
 * power) and by the current (outer) role?  Never true for superusers.
 */
extern bool cpii_policy_acts_as(Oid role);

/* why the level is what it is, for effective_disclosures; constant text */
extern const char *cpii_policy_reason(int class_id);

/* a relation of ours whose change voids cached plans */
extern Oid	cpii_policy_version_relation(void);

/* make every cache of the policy void at commit (called by policy functions) */
extern void cpii_policy_changed(void);

#endif							/* CPII_POLICY_CATALOG_H */
