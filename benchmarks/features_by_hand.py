"""The reference features as somebody would write them for one purpose: in DuckDB SQL, and in pandas."""

from datetime import timedelta

import numpy as np
import pandas as pd

from features.records import AsOf

WINDOWS = (7, 30, 90, 365)
LINE_COLUMNS = ["customer_id", "order_id", "ordered_at", "known_at", "amount", "discount", "is_return"]
REFERENCE = (
    *("frequency", "recency", "T", "days_since_last_order"),
    *(f"orders_{days}d" for days in WINDOWS),
    *(f"spend_{days}d" for days in WINDOWS),
    *("spend_total", "order_value_mean", "order_value_last", "first_order_value"),
    *("gap_median_days", "gap_p90_days", "gap_cv", "basket_lines_mean"),
    *("discounted_line_share", "weekend_share", "evening_share", "returns_total"),
)


def by_hand_sql(as_of: AsOf) -> str:
    """Return one statement for records in UTC, at a midnight."""
    at, since = (
        f"TIMESTAMP '{as_of.naive_utc}'",
        {d: f"TIMESTAMP '{as_of.naive_utc - timedelta(days=d)}'" for d in WINDOWS},
    )
    last_day = f"DATE '{as_of.day - timedelta(days=1)}'"
    counts = ", ".join(f"count(*) FILTER (last_at >= {since[d]}) AS orders_{d}d" for d in WINDOWS)
    spends = ", ".join(f"coalesce(sum(net) FILTER (ordered_at >= {since[d]}), 0) / 1e6 AS spend_{d}d" for d in WINDOWS)
    return f"""
    WITH orders_ AS (
        SELECT customer_id, order_id, min(ordered_at) AS ordered_at,
               count(*) FILTER (NOT is_return) AS bought, count(*) FILTER (is_return) AS returned,
               count(*) FILTER (NOT is_return AND discount > 0) AS discounted,
               count(*) FILTER (NOT is_return AND discount IS NOT NULL) AS discount_known,
               coalesce(sum(round(amount * 1e6)::BIGINT) FILTER (NOT is_return), 0)::BIGINT AS gross,
               sum(round(amount * 1e6)::BIGINT)::BIGINT AS net
        FROM orders WHERE ordered_at < {at} AND known_at < {at} GROUP BY ALL),
    days AS (SELECT customer_id, ordered_at::DATE AS on_day, max(ordered_at) AS last_at, sum(gross)::BIGINT AS gross
             FROM orders_ WHERE bought > 0 GROUP BY ALL),
    gaps AS (SELECT *, on_day - lag(on_day) OVER (PARTITION BY customer_id ORDER BY on_day) AS gap FROM days),
    occasions AS (
        SELECT customer_id, count(*) - 1 AS frequency, max(on_day) - min(on_day) AS recency,
               {last_day} - max(on_day) AS silent, {counts}, sum(gross) AS gross,
               arg_max(gross, on_day) / 1e6 AS order_value_last, arg_min(gross, on_day) / 1e6 AS first_order_value,
               round(quantile_cont(gap, 0.5) * 10) / 10 AS gap_median_days,
               round(quantile_cont(gap, 0.9) * 10) / 10 AS gap_p90_days,
               count(gap) AS gaps, sum(gap) AS gap_sum, sum(gap * gap) AS gap_squares
        FROM gaps GROUP BY ALL),
    totals AS (
        SELECT customer_id, {spends}, sum(net) / 1e6 AS spend_total, count(*) FILTER (bought > 0) AS baskets,
               sum(bought) AS bought, sum(discounted) AS discounted, sum(discount_known) AS discount_known,
               count(*) FILTER (bought > 0 AND isodow(ordered_at) > 5) AS weekend,
               count(*) FILTER (bought > 0 AND hour(ordered_at) >= 18) AS evening, sum(returned) AS returns_total
        FROM orders_ GROUP BY ALL)
    SELECT customer_id, frequency, recency, recency + silent AS T, silent AS days_since_last_order,
           * LIKE 'orders_%', * LIKE 'spend_%', gross / 1e6 / (frequency + 1) AS order_value_mean, order_value_last,
           first_order_value, gap_median_days, gap_p90_days,
           CASE WHEN gaps >= 2 THEN sqrt((gaps * gap_squares - gap_sum * gap_sum)::DOUBLE) / gap_sum END AS gap_cv,
           bought / baskets AS basket_lines_mean, discounted / nullif(discount_known, 0) AS discounted_line_share,
           weekend / baskets AS weekend_share, evening / baskets AS evening_share, returns_total
    FROM occasions JOIN totals USING (customer_id) ORDER BY customer_id"""


def by_hand_pandas(lines: pd.DataFrame, as_of: AsOf) -> pd.DataFrame:
    """Compute the same from lines in UTC, at a midnight; money in whole millionths, as everywhere."""
    lines = lines[(lines["ordered_at"] < as_of.naive_utc) & (lines["known_at"] < as_of.naive_utc)]
    bought, micro = ~lines["is_return"], (lines["amount"] * 1e6).round().astype("int64")
    orders = (
        lines.assign(
            net=micro,
            gross=micro.where(bought, 0),
            bought=bought.astype("int64"),
            returned=lines["is_return"].astype("int64"),
            discounted=(bought & (lines["discount"] > 0)).astype("int64"),
            known=(bought & lines["discount"].notna()).astype("int64"),
        )
        .groupby(["customer_id", "order_id"], sort=False)
        .agg(
            {"ordered_at": "min", **dict.fromkeys(("net", "gross", "bought", "returned", "discounted", "known"), "sum")}
        )
        .reset_index()
    )
    return _from_orders(orders, as_of)


def _from_orders(orders: pd.DataFrame, as_of: AsOf) -> pd.DataFrame:
    basket = orders["bought"] > 0
    at = orders["ordered_at"]
    days = (
        orders[basket]
        .assign(on_day=at[basket].dt.normalize())
        .groupby(["customer_id", "on_day"])
        .agg(last_at=("ordered_at", "max"), gross=("gross", "sum"))
        .reset_index()
    )
    days["gap"] = days.groupby("customer_id")["on_day"].diff().dt.days
    days["square"] = days["gap"] ** 2
    last_day = pd.Timestamp(as_of.day - timedelta(days=1))
    by = days.groupby("customer_id")
    out = pd.DataFrame({"frequency": by.size() - 1, "recency": (by["on_day"].max() - by["on_day"].min()).dt.days})
    out["days_since_last_order"] = (last_day - by["on_day"].max()).dt.days
    out["T"] = out["recency"] + out["days_since_last_order"]
    totals = (
        orders.assign(
            basket=basket,
            weekend=basket & (at.dt.day_of_week >= 5),
            evening=basket & (at.dt.hour >= 18),
            **{f"spend_{d}d": orders["net"].where(at >= as_of.naive_utc - timedelta(days=d), 0) for d in WINDOWS},
        )
        .groupby("customer_id")[
            [
                "net",
                "bought",
                "returned",
                "discounted",
                "known",
                "basket",
                "weekend",
                "evening",
                *(f"spend_{d}d" for d in WINDOWS),
            ]
        ]
        .sum()
        .reindex(out.index)
    )
    for d in WINDOWS:
        recent = days["last_at"] >= as_of.naive_utc - timedelta(days=d)
        out[f"orders_{d}d"] = recent.groupby(days["customer_id"]).sum()
        out[f"spend_{d}d"] = totals[f"spend_{d}d"] / 1e6
    out["spend_total"] = totals["net"] / 1e6
    out["order_value_mean"] = by["gross"].sum() / 1e6 / (out["frequency"] + 1)
    out["order_value_last"], out["first_order_value"] = by["gross"].last() / 1e6, by["gross"].first() / 1e6
    out["gap_median_days"], out["gap_p90_days"] = (
        (by["gap"].quantile(share) * 10).round() / 10 for share in (0.5, 0.9)
    )
    count, total = by["gap"].count(), by["gap"].sum()
    spread = np.sqrt(count * by["square"].sum() - total**2) / total.where(total != 0)
    out["gap_cv"] = spread.where(count >= 2)
    out["basket_lines_mean"] = totals["bought"] / totals["basket"]
    out["discounted_line_share"] = totals["discounted"] / totals["known"].where(totals["known"] != 0)
    for name in ("weekend", "evening"):
        out[f"{name}_share"] = totals[name] / totals["basket"]
    out["returns_total"] = totals["returned"]
    return out.sort_index().reset_index()
