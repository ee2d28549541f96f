/*-------------------------------------------------------------------------
 *
 * feed_order.h
 *	  Numbered personnel feeds are applied in their order.
 *
 * All functions need SPI and the lock on the register of feeds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_FEED_ORDER_H
#define CPII_FEED_ORDER_H

/*
 * Read the number that the rows of a feed carry, and enter it.  Raises 22023
 * when it is no number or the rows disagree, 55000 when that number (or a later
 * one) was applied before.
 */
extern void cpii_feed_number(const char *feed, const char *source);

/* why a list of changes has to wait for others, or NULL */
extern char *cpii_feed_gap(const char *feed, const char *source);

/* the feed that waits and is the next one now, or NULL */
extern char *cpii_feed_next(const char *source);

/* a complete list was applied: earlier changes are in it */
extern void cpii_feed_supersede(const char *feed, const char *source);

/* the worker's: say once when a feed has waited for an hour */
extern void cpii_feed_alarm(const char *now);

#endif							/* CPII_FEED_ORDER_H */
