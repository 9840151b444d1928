"""A customer's own rhythm, and whether the present silence breaks it."""

from typing import Any

import ibis

from features.windows import days_since, ratio


def from_occasions(occasions: ibis.Table) -> dict[str, Any]:
    """Totals over gaps between consecutive occasions, in whole days; all null for one-time buyers.

    Sums of whole days and of their squares are exact in any order; the quantiles interpolate linearly.
    """
    gap, day = occasions.gap, occasions.day
    return {
        "gaps": gap.count(),
        "gap_sum": gap.sum(),
        "gap_square_sum": (gap * gap).sum(),
        "gap_median_days": _tenths(gap.quantile(0.5)),
        "gap_p90_days": _tenths(gap.quantile(0.9)),
        "gap_max_days": gap.max(),
        "gap_first_days": gap.argmin(day, where=gap.notnull()),
        "gap_last_days": gap.argmax(day, where=gap.notnull()),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; ``gap_cv`` (population standard deviation over mean) needs two gaps."""
    since = days_since(row.last_day, row.latest_day)
    spread = (row.gaps * row.gap_square_sum - row.gap_sum * row.gap_sum).cast("float64").sqrt()
    variation = ibis.ifelse(row.gaps >= 2, ratio(spread, row.gap_sum), None)
    return {
        "gap_median_days": row.gap_median_days,
        "gap_p90_days": row.gap_p90_days,
        "gap_mean_days": ratio(row.gap_sum, row.gaps),
        "gap_max_days": row.gap_max_days,
        "gap_first_days": row.gap_first_days,
        "gap_last_days": row.gap_last_days,
        "gap_last_ratio": ratio(row.gap_last_days, row.gap_median_days),
        "gap_cv": variation,
        "gap_burstiness": _burstiness(variation, row.gaps.cast("float64")),
        "overdue_ratio": ratio(since, row.gap_median_days),
        "overdue_p90_ratio": ratio(since, row.gap_p90_days),
        "overdue_max_ratio": ratio(since, row.gap_max_days),
    }


def _tenths(quantile: Any) -> Any:
    """Return a quantile at a tenth of whole days, which lies on a tenth itself, free of how an engine interpolates."""
    return (quantile * 10.0).round().cast("float64") / 10.0


def _burstiness(variation: Any, gaps: Any) -> Any:
    """Return burstiness in [-1, 1]: -1 clockwork, 0 random, 1 all at once (Goh & Barabási 2008).

    In the form of Kim & Jo (2016, Phys. Rev. E 94, 032311) for few events: without it short histories look regular.
    """
    most, more = (gaps - 1.0).sqrt(), (gaps + 1.0).sqrt()
    return ratio(more * variation - most, (more - 2.0) * variation + most)
