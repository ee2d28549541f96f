/*-------------------------------------------------------------------------
 *
 * plan_roles.h
 *	  Which roles were decided in the plans of this session.
 *
 * Row rules are folded into plans for the roles of the person who acts.  The
 * plan cache watches the current role only; here the rest is watched: the
 * outer role, and the person behind a pool, who changes with each transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PLAN_ROLES_H
#define CPII_PLAN_ROLES_H

/* decide a role for a plan that is being made, and remember the answer */
extern bool cpii_plan_acts_as(Oid role);

/*
 * Before a statement: void all plans when somebody else acts, of whom one of
 * the remembered answers is not true.  Two couriers share their plans.
 */
extern void cpii_plan_roles_check(void);

/*
 * The person behind a pool is gone with the transaction.  A plan may be used
 * again before any statement of ours runs, so plans that were made for that
 * person go, too.  No catalog access; does not raise.
 */
extern void cpii_plan_roles_forget(void);

#endif							/* CPII_PLAN_ROLES_H */
