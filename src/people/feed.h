/*-------------------------------------------------------------------------
 *
 * feed.h
 *	  Lists of staff from the personnel department, between their files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_FEED_H
#define CPII_FEED_H

/* the feed being worked on, as texts */
typedef struct CpiiFeed
{
	char	   *id;
	char	   *source;
	bool		full;
} CpiiFeed;

/* run a statement with the feed as $1 and its source as $2, inside SPI */
extern uint64 cpii_feed_run(const CpiiFeed *feed, const char *sql);

/* a verdict for each row, and the list of those whom it would disable */
extern void cpii_feed_judge(const CpiiFeed *feed);

/*
 * After that: why the feed must be looked at, or an empty string.  *empty: it is
 * never to be let through.
 */
extern char *cpii_feed_brake(const CpiiFeed *feed, bool *empty);

/* all of it, and what of it takes rights away, alone */
extern void cpii_feed_apply(const CpiiFeed *feed);
extern void cpii_feed_take_away(const CpiiFeed *feed);

#endif							/* CPII_FEED_H */
