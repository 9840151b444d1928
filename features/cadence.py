"""A customer's own rhythm, and whether the present silence and trend break it."""

from typing import Any

import ibis

from features.windows import days_since, ratio, units


def from_occasions(occasions: ibis.Table) -> dict[str, Any]:
    """Totals over gaps between consecutive occasions, in whole days; all null for one-time buyers.

    Sums of whole days and of their squares are exact in any order; the quantiles interpolate linearly.
    """
    gap = occasions.gap
    return {
        "gaps": gap.count(),
        "gap_sum": gap.sum(),
        "gap_square_sum": (gap * gap).sum(),
        "gap_median_days": _tenths(gap.quantile(0.5)),
        "gap_p90_days": _tenths(gap.quantile(0.9)),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; ``gap_cv`` (population standard deviation over mean) needs two gaps."""
    spread = (row.gaps * row.gap_square_sum - row.gap_sum * row.gap_sum).cast("float64").sqrt()
    since = days_since(row.last_day, row.latest_day)
    return {
        "gap_median_days": row.gap_median_days,
        "gap_p90_days": row.gap_p90_days,
        "gap_cv": ibis.ifelse(row.gaps >= 2, ratio(spread, row.gap_sum), None),
        "overdue_ratio": ratio(since, row.gap_median_days),
        "orders_trend_90d": _trend(row.orders_90d.cast("float64"), row.orders_180d.cast("float64")),
        "spend_trend_90d": _trend(units(row.spend_90d), units(row.spend_180d)),
    }


def _tenths(quantile: Any) -> Any:
    """Return a quantile at a tenth of whole days, which lies on a tenth itself, free of how an engine interpolates."""
    return (quantile * 10.0).round().cast("float64") / 10.0


def _trend(last_90_days: Any, last_180_days: Any) -> Any:
    """(last 90 days - the 90 before) / their sum, in [-1, 1] when neither half is negative; null when the sum is 0."""
    return ratio(2.0 * last_90_days - last_180_days, last_180_days)
