/*-------------------------------------------------------------------------
 *
 * direct_read.h
 *	  Who may read sealed values past the masked views?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_DIRECT_READ_H
#define CPII_DIRECT_READ_H

typedef enum CpiiDirectRead
{
	CPII_READS_NOTHING,			/* no sealed value of the class as it is stored */
	CPII_READS_OWN,				/* those in tables that the person owns */
	CPII_READS_OTHERS			/* those in tables of others, too */
} CpiiDirectRead;

/*
 * What the person who is acting may read of a class as it is stored, by any
 * role that the login role or the person is a member of, inherited or not:
 * columns of tables, and of views that are no masked ones.  Superusers, members
 * of pii_backup and roles that replicate may read everything.  Functions that
 * read for somebody are not looked through.  A company's own classes are taken
 * together.
 */
extern CpiiDirectRead cpii_direct_read(int class_id);

#endif							/* CPII_DIRECT_READ_H */
