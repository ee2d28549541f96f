/*-------------------------------------------------------------------------
 *
 * window_slices.c
 *	  How much was taken in a sliding hour and a sliding day.
 *
 * Windows slide.  An hour is kept as slices of ten minutes, a day as slices of
 * two hours, and a slice counts until all of it is out of the window: in no
 * hour, wherever it begins, is more taken than the hour's limit.  What is left
 * over at the end of a slice is carried on, so cutting a task into small pieces
 * gains nothing.
 *
 * Plain arithmetic: whoever calls holds the lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "guard/window_slices.h"

static uint32
add_count(uint32 count, int64 amount)
{
	int64		sum = (int64) count + amount;

	return (uint32) Max(Min(sum, (int64) PG_UINT32_MAX), 0);
}

void
cpii_slices_advance(CpiiSlices *slices, TimestampTz now)
{
	int64		hour = now / CPII_HOUR_SLICE;
	int64		day = now / CPII_DAY_SLICE;

	if (hour > slices->newest_hour)
	{
		int64		from = Max(slices->newest_hour + 1, hour - CPII_HOUR_SLICES + 1);

		for (int64 n = from; n <= hour; n++)
			for (int b = 0; b < CPII_NBUDGETS; b++)
				slices->hour[b][n % CPII_HOUR_SLICES] = 0;
		slices->newest_hour = hour;
	}
	if (day > slices->newest_day)
	{
		int64		from = Max(slices->newest_day + 1, day - CPII_DAY_SLICES + 1);

		for (int64 n = from; n <= day; n++)
			for (int b = 0; b < CPII_NBUDGETS; b++)
				slices->day[b][n % CPII_DAY_SLICES] = 0;
		slices->newest_day = day;
	}
}

static int64
sum(const uint32 *slices, int n)
{
	int64		total = 0;

	for (int i = 0; i < n; i++)
		total += slices[i];
	return total;
}

static void
change(uint32 *slices, int n, int64 newest, int64 amount)
{
	for (int i = 0; i < n && amount != 0; i++)
	{
		uint32	   *slice = &slices[(newest - i) % n];
		uint32		before = *slice;

		*slice = add_count(before, amount);
		if (amount > 0)
			return;
		amount += (int64) before - *slice;
	}
}

int64
cpii_slices_hour(const CpiiSlices *slices, int budget)
{
	return sum(slices->hour[budget], CPII_HOUR_SLICES);
}

int64
cpii_slices_day(const CpiiSlices *slices, int budget)
{
	return sum(slices->day[budget], CPII_DAY_SLICES);
}

void
cpii_slices_add(CpiiSlices *slices, int budget, int64 amount)
{
	change(slices->hour[budget], CPII_HOUR_SLICES, slices->newest_hour, amount);
	change(slices->day[budget], CPII_DAY_SLICES, slices->newest_day, amount);
}

static void
raise_slice(uint32 *slices, int n, int64 newest, int64 number, int64 amount)
{
	uint32	   *slice = &slices[number % n];

	if (number <= newest && number > newest - n && *slice < amount)
		*slice = add_count(0, amount);
}

void
cpii_slices_raise(CpiiSlices *slices, int budget, bool hours, int64 number, int64 amount)
{
	if (hours)
		raise_slice(slices->hour[budget], CPII_HOUR_SLICES, slices->newest_hour, number, amount);
	else
		raise_slice(slices->day[budget], CPII_DAY_SLICES, slices->newest_day, number, amount);
}

bool
cpii_slices_idle(CpiiSlices *slices, TimestampTz now)
{
	cpii_slices_advance(slices, now);
	for (int b = 0; b < CPII_NBUDGETS; b++)
		if (sum(slices->day[b], CPII_DAY_SLICES) > 0 ||
			sum(slices->hour[b], CPII_HOUR_SLICES) > 0)
			return false;
	return true;
}
