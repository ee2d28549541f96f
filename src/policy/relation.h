/*-------------------------------------------------------------------------
 *
 * relation.h
 *	  What is a relation to us?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_RELATION_H
#define CPII_RELATION_H

#include "access/transam.h"

/* the base table of a masked view, or InvalidOid */
extern Oid	cpii_masked_view_base(Oid view);

/* what a relation is to us; 0 = nothing */
#define CPII_REL_PROTECTED	0x01	/* has a sealed column, or is a masked view */
#define CPII_REL_OURS		0x02	/* lives in schema courier_pii */
#define CPII_REL_AUDIT		0x04	/* of those: the audit trail */
#define CPII_REL_TRAIL		0x08	/* of those: what an auditor reads records from */
/* reading it is recorded */
#define CPII_REL_RECORDED	(CPII_REL_PROTECTED | CPII_REL_TRAIL)
extern int	cpii_relation_flags_look(Oid relid);

/* what was asked last, one relation a place; 0 = free */
#define CPII_RECENT_RELATIONS 64
typedef struct CpiiRecentRelation
{
	Oid			relid;
	int			flags;
} CpiiRecentRelation;
extern CpiiRecentRelation cpii_recent_relations[CPII_RECENT_RELATIONS];

static inline int
cpii_relation_flags(Oid relid)
{
	const CpiiRecentRelation *recent =
		&cpii_recent_relations[relid % CPII_RECENT_RELATIONS];

	if (relid < FirstNormalObjectId)
		return 0;
	if (likely(recent->relid == relid))
		return recent->flags;
	return cpii_relation_flags_look(relid);
}

#endif							/* CPII_RELATION_H */
