/*-------------------------------------------------------------------------
 *
 * mask_test.c
 *	  Unit tests of the pure rooms, without a server.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include "tap.h"

int			tap_count = 0;
int			tap_failures = 0;

int
main(void)
{
	run_mask_cases();
	run_normalise_cases();
	run_properties();
	printf("1..%d\n", tap_count);
	return tap_failures == 0 ? 0 : 1;
}
