"""The corners of every feature group, by hand: ties at one instant, the cutoff's own day, too little to tell."""

import numpy as np
import pandas as pd
import pytest

from features.records import AsOf
from features.snapshot import build_snapshot

AS_OF = AsOf.parse("2024-04-10T13:00", "UTC")  # day 101; the last whole day is day 100
NAN = float("nan")


def orders(customer_id, *days, amount=10.0, **rest):
    """One order at noon of each day counted from 1 January 2024."""
    return [
        {
            "customer_id": customer_id,
            "ordered_at": pd.Timestamp("2024-01-01T12:00") + pd.Timedelta(days=day - 1),
            "amount": amount,
            "order_id": f"{customer_id}{day}{amount}{rest.get('channel')}",
            **rest,
        }
        for day in days
    ]


def contacts(customer_id, kind, *days, **rest):
    """One interaction at noon of each day."""
    return [
        {
            "customer_id": customer_id,
            "occurred_at": pd.Timestamp("2024-01-01T12:00") + pd.Timedelta(days=day - 1),
            "kind": kind,
            **rest,
        }
        for day in days
    ]


LOG = {
    "orders": [
        *orders("clockwork", 61, 71, 81, 91, 101),  # the last on the cutoff's own, unfinished day
        *orders("burst", 1, 2, 3, 4, 100),
        *orders("once", 50),
        *orders("slowing", 20, 30, 40, 70),
        *orders("year", -300, -290, 50),  # 390 and 380 days before the last whole day
        *orders("two years", -400, -270, -260, 50, 60),
        # tea and cups are worth the same, so both are the favourite; cups were bought last, tea is the better kept
        *orders("tied", 10, 50, 90, category="tea"),
        *orders("tied", 40, 60, 95, category="cups"),
        *orders("tied", 20, 30, amount=1.0, category="salt"),
        *orders("free", 90, amount=0.0, category="tea", discount=0.0),
        *orders("reduced", 5, amount=6.0, discount=4.0),
        *orders("reduced", 80, 90, amount=10.0, discount=0.0),
        *orders("switch", 10, 20, 30, channel="web"),
        *orders("switch", 40, channel="shop"),
        *orders("both", 10, 20, channel="web"),
        *orders("both", 20, channel="shop"),  # at the same instant as the web order
        *orders("both", 5, channel="app"),
        *orders("returns", 1, amount=100.0),
        *orders("returns", 60, amount=50.0),
        *orders("returns", 101, amount=-20.0),
        *orders("old returns", 1, 2, amount=100.0),
        *orders("old returns", 3, amount=-20.0),
        *orders("round", 1, 2, 3, 4, 5, 6, 7),  # every weekday, always at noon
    ],
    "interactions": [
        *contacts("once", "complaint_closed", 60),
        *contacts("clockwork", "complaint_opened", 101),
        *contacts("slowing", "complaint_opened", 10, 20),
        *contacts("slowing", "complaint_closed", 21, 25),
        *contacts("slowing", "satisfaction", 30, value=1.0),
        *contacts("slowing", "satisfaction", 40, value=4.0),
        *contacts("slowing", "satisfaction", 40, value=2.0),  # at the same instant: the worse is the latest
        *contacts("burst", "satisfaction", 40, value=5.0),
        *contacts("burst", "visit", 101, 100, 94, 93, -270),
        *contacts("burst", "click", 99),
        *contacts("year", "referral", -300, 100),
        *contacts("year", "visit", -300),
    ],
    "offers": [
        {"customer_id": who, "occurred_at": pd.Timestamp("2024-01-01T12:00") + pd.Timedelta(days=day), "offer_id": name}
        for who, day, name in [
            *[("once", day, f"o{day}") for day in (1, 2, 3)],
            *[("burst", day, f"b{day}") for day in (1, 2, 3)],
        ]
    ],
    "outcomes": [
        {
            "customer_id": who,
            "occurred_at": pd.Timestamp("2024-01-01T12:00") + pd.Timedelta(days=day),
            "offer_id": name,
            "kind": "redeemed",
        }
        for who, day, name in [("burst", 2, "b1"), ("slowing", 99, None)]
    ],
}
CV = np.std([1, 1, 1, 96]) / np.mean([1, 1, 1, 96])
EXPECTED = [
    # the rhythm
    ("clockwork", {"gap_cv": 0, "gap_burstiness": -1, "gap_last_ratio": 1, "gap_max_days": 10, "gap_first_days": 10}),
    ("clockwork", {"days_since_last_order": 0, "overdue_p90_ratio": 0, "overdue_max_ratio": 0}),
    ("burst", {"gap_burstiness": (5**0.5 * CV - 3**0.5) / ((5**0.5 - 2) * CV + 3**0.5)}),
    ("burst", {"gap_first_days": 1, "gap_last_days": 96, "gap_last_ratio": 96, "gap_mean_days": 99 / 4}),
    ("slowing", {"gap_last_ratio": 3, "overdue_max_ratio": 1, "overdue_p90_ratio": 30 / (10 + 0.8 * 20)}),
    ("once", {"gap_first_days": NAN, "gap_last_days": NAN, "gap_burstiness": NAN, "overdue_max_ratio": NAN}),
    ("year", {"gap_burstiness": (3**0.5 * 165 / 175 - 1) / ((3**0.5 - 2) * 165 / 175 + 1)}),  # gaps 10 and 340
    # months of 30 days back from the last whole day; its own day counts to the newest
    ("clockwork", {"active_months_360d": 2}),
    ("burst", {"active_months_360d": 2}),
    ("year", {"active_months_360d": 1}),
    # trends
    ("once", {"orders_trend_30d": -1, "orders_trend_90d": 1, "orders_pace_90d": 1}),
    ("slowing", {"orders_trend_30d": -1, "orders_trend_90d": 1}),
    ("burst", {"orders_trend_30d": 1, "orders_trend_90d": (1 - 4) / 5, "orders_pace_90d": 1 / (5 * 90 / 100)}),
    ("two years", {"orders_pace_90d": 2 / (5 * 90 / 501)}),
    # a year is 364 days: the 90 days before it are days -353 to -264, the 90 after it -263 to -174
    ("once", {"orders_next_90d_year_ago": NAN}),
    ("year", {"orders_next_90d_year_ago": 0}),
    ("two years", {"orders_next_90d_year_ago": 1}),
    # categories
    ("tied", {"days_since_favourite_category": 5}),
    ("tied", {"favourite_category_overdue_ratio": 5 / 27.5, "category_breadth": 3, "category_breadth_90d": 3}),
    ("tied", {"categories_due_share": 1 / 3}),  # salt: 70 days of silence, 10 usual
    ("free", {"days_since_favourite_category": 10, "category_breadth": 1}),
    ("free", {"favourite_category_overdue_ratio": NAN, "categories_due_share": NAN}),
    # prices
    ("reduced", {"discount_share": 4 / 30, "discounted_order_share": 1 / 3}),
    ("reduced", {"discount_depth_share": 4 / 10, "line_value_ratio_90d": 10 / (26 / 3)}),
    ("free", {"discount_share": NAN, "discount_depth_share": NAN, "discounted_order_share": 0}),
    ("free", {"line_value_ratio_90d": NAN, "order_value_last_ratio": NAN}),
    ("old returns", {"line_value_ratio_90d": NAN}),
    # returns
    ("returns", {"return_amount_share_90d": 20 / 50, "days_since_last_return": 0}),
    ("old returns", {"return_amount_share_90d": NAN, "days_since_last_return": 97}),
    ("once", {"return_amount_share_90d": 0, "days_since_last_return": NAN}),
    # channels and hours
    ("switch", {"favourite_channel_share": 3 / 4}),
    ("both", {"favourite_channel_share": 2 / 4}),
    ("round", {"hour_concentration": 1, "weekday_concentration": 0}),
    ("once", {"hour_concentration": 1, "weekday_concentration": 1}),
    # offers: one redeemed at the instant another came is not followed by it
    ("once", {"offers_since_redemption": 3, "days_since_last_redemption": NAN, "offers_redeemed_90d": 0}),
    ("burst", {"offers_since_redemption": 1, "days_since_last_redemption": 97, "offers_redeemed_90d": 0}),
    ("slowing", {"offers_since_redemption": 0, "days_since_last_redemption": 0, "offers_redeemed_90d": 1}),
    # engagement: days 94 to 101 are one week, 93 the next, 40 another (and another month); -270 lies beyond the year
    ("burst", {"contact_weeks_91d": 3, "contact_months_360d": 2, "visits_90d": 4, "clicks_90d": 1}),
    ("burst", {"interactions_trend_90d": 1}),
    ("year", {"interactions_trend_90d": 1, "contact_weeks_91d": 1, "contact_months_360d": 1}),
    ("tied", {"interactions_trend_90d": NAN, "contact_weeks_91d": 0, "contact_months_360d": 0}),
    # service: days add up whichever closing is whose; a closing without an opening tells nothing
    ("slowing", {"complaints_total": 2, "complaints_open": 0, "complaint_days_mean": (11 + 5) / 2}),
    ("slowing", {"satisfaction_last": 2, "satisfaction_mean": 7 / 3, "satisfaction_change": 2 - 5 / 2}),
    ("burst", {"satisfaction_mean": 5, "satisfaction_change": NAN}),
    ("clockwork", {"complaints_open": 1, "complaint_days_mean": 0, "days_since_last_complaint": 0}),
    ("once", {"complaints_open": 0, "complaint_days_mean": NAN, "days_since_last_complaint": NAN}),
    ("tied", {"complaints_total": 0, "complaint_days_mean": NAN, "satisfaction_mean": NAN}),
    # influence
    ("year", {"referrals_total": 2, "days_since_last_referral": 0}),
    ("tied", {"days_since_last_referral": NAN}),
]


@pytest.fixture(scope="module")
def rows(make_records):
    return build_snapshot(make_records(**LOG), AS_OF).set_index("customer_id")


@pytest.mark.parametrize(("customer_id", "expected"), EXPECTED)
def test_corners(rows, customer_id, expected):
    got = rows.loc[customer_id, list(expected)].to_dict()
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)
