/*-------------------------------------------------------------------------
 *
 * key_command.h
 *	  What administrators do with keys: look, roll, choose, destroy, unseal.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_KEY_COMMAND_H
#define CPII_KEY_COMMAND_H

/* registers the periodic task that rolls epochs */
extern void cpii_key_command_init(void);

#endif							/* CPII_KEY_COMMAND_H */
