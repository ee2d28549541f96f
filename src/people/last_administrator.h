/*-------------------------------------------------------------------------
 *
 * last_administrator.h
 *	  Is somebody the last who can administer?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LAST_ADMINISTRATOR_H
#define CPII_LAST_ADMINISTRATOR_H

/*
 * Is the role a superuser, or does it hold a duty of administration, and could
 * no other such role log in?  locked: may a role not log in now for failures?
 */
extern bool cpii_is_last_administrator(Oid role, bool (*locked) (Oid role));

#endif							/* CPII_LAST_ADMINISTRATOR_H */
