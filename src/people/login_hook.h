/*-------------------------------------------------------------------------
 *
 * login_hook.h
 *	  Refuses the login of a disabled account and tells an ended session why.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LOGIN_HOOK_H
#define CPII_LOGIN_HOOK_H

extern void cpii_login_hook_init(void);

/*
 * A role's name for a message, else its number.  The catalog is looked at only
 * when allowed (not in error paths) and possible (not in an aborted
 * transaction).  name has NAMEDATALEN bytes.
 */
extern void cpii_login_role_name(Oid role, bool catalog, char *name);

#endif							/* CPII_LOGIN_HOOK_H */
