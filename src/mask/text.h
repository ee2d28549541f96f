/*-------------------------------------------------------------------------
 *
 * text.h
 *	  What the masks share: cleaned text and bounded output.
 *
 * A mask loads its input into a CpiiText (decoded, full-width forms made
 * half-width, zero-width characters dropped, trimmed) and writes through a
 * CpiiSink, which can never pass the bound of mask.h: output that would not
 * fit becomes the hidden text.  Private to src/mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TEXT_H
#define CPII_TEXT_H

#include "mask/utf8.h"

/* longest text, in characters, that a mask tries to understand */
#define CPII_TEXT_MAX 400

typedef struct CpiiText
{
	int			n;
	uint32_t	cp[CPII_TEXT_MAX];	/* as it will be shown */
	uint32_t	fold[CPII_TEXT_MAX];	/* for matching: simplified, upper case */
} CpiiText;

/*
 * A constant list of words (simplified, upper case) and the characters that
 * begin and end them, worked out at the first use: most places of a text are
 * passed over by one look.
 */
typedef struct CpiiWords
{
	const char *const *words;	/* NULL ends the list */
	bool		ready;
	uint64_t	first[16];		/* a bit for the lowest ten of a character */
	uint64_t	last[16];
} CpiiWords;

#define CPII_WORD_LIST(name, ...) \
	static const char *const name##_list[] = {__VA_ARGS__, NULL}; \
	static CpiiWords name = {name##_list, false, {0}, {0}}

typedef struct CpiiSink
{
	char	   *out;
	size_t		cap;
	size_t		len;
	bool		overflow;
} CpiiSink;

/*
 * Load and clean; white space of any kind becomes one ASCII blank each.
 * False (cannot be parsed) for malformed UTF-8, control characters and texts
 * longer than CPII_TEXT_MAX.
 */
extern bool cpii_text_load(CpiiText *text, const char *in, size_t inlen);
/* load without any blank; the same with any dash dropped too */
extern bool cpii_text_load_compact(CpiiText *text, const char *in, size_t inlen,
								   bool drop_dashes);
/* characters of word (simplified, upper case) if it stands at pos before end, else 0 */
extern int	cpii_text_match(const CpiiText *text, int pos, int end,
							const char *word);
/* the first of the words that stands at pos, else 0 */
extern int	cpii_text_match_any(const CpiiText *text, int pos, int end,
								CpiiWords *words);
/* may one of the words begin at pos?  False is sure. */
extern bool cpii_text_may_begin(const CpiiText *text, int pos, int end,
								CpiiWords *words);
/* the longest of the words that ends exactly at end and begins at from or later */
extern int	cpii_text_match_tail(const CpiiText *text, int from, int end,
								 CpiiWords *words);
extern bool cpii_text_has(const CpiiText *text, int from, int end, uint32_t cp);
/* exactly "count" stars in [from, end)? */
extern bool cpii_text_stars(const CpiiText *text, int from, int end, int count);

extern void cpii_sink_init(CpiiSink *sink, char *out, size_t inlen);
extern void cpii_sink_cp(CpiiSink *sink, uint32_t cp);
extern void cpii_sink_string(CpiiSink *sink, const char *string);
extern void cpii_sink_text(CpiiSink *sink, const CpiiText *text, int from, int end);
/*
 * Output length; the hidden text when nothing was written, it did not fit, or
 * it is too long to be read again.
 */
extern size_t cpii_sink_finish(CpiiSink *sink);

/* the hidden text; needs no sink */
extern size_t cpii_mask_hide(char *out);

#endif							/* CPII_TEXT_H */
