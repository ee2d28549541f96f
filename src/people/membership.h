/*-------------------------------------------------------------------------
 *
 * membership.h
 *	  Group roles that come and go with a post.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_MEMBERSHIP_H
#define CPII_MEMBERSHIP_H

/*
 * Revoke every group role that was granted to the login role directly, and
 * what was disclosed to it by name, and remember the groups.  Returns their
 * number.  SPI is connected.
 */
extern int	cpii_membership_take(Oid role, const char *staff_no,
								 const char *cause);

/* grant the group roles of a post (NULL: none); SPI is connected */
extern void cpii_post_grant(Oid role, const char *post);

/*
 * What the role is, or is a member of, that gives more than ordinary rights: a
 * superuser, an attribute, a predefined role, a duty.  NULL when there is none.
 * SPI is connected.
 */
extern char *cpii_powerful_role(Oid role);

#endif							/* CPII_MEMBERSHIP_H */
