/*-------------------------------------------------------------------------
 *
 * agent_watch.h
 *	  Who takes unusually many keys, inside the key agent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AGENT_WATCH_H
#define CPII_AGENT_WATCH_H

/* what a process has been given */
typedef struct CpiiTaken
{
	int			pid;
	Oid			login;
	int			keys;			/* data keys, one for each class and epoch */
	int			classes;
} CpiiTaken;

/*
 * Called when a process has been given courier_pii.key_watch data keys, and at
 * each doubling.  No catalogs, must not raise.
 */
extern void (*cpii_agent_taken_hook) (const CpiiTaken *taken);

/* a process, by its number and process number, has been given a data key */
extern void cpii_agent_taken(int number, int pid, Oid login, int class_id);

#endif							/* CPII_AGENT_WATCH_H */
