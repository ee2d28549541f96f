/*-------------------------------------------------------------------------
 *
 * posture.h
 *	  What the view courier_pii.posture needs to be remembered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_POSTURE_H
#define CPII_POSTURE_H

/* the worker's: note the server's timeline when it is a new one; needs SPI */
extern void cpii_posture_note_timeline(void);

#endif							/* CPII_POSTURE_H */
