from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contract import CONTACT_CHANNELS
from features.records import AsOf
from perennial.errors import PlaybookError
from serving.codes import Language
from serving.decisions.arbitration import propose
from serving.decisions.control import control_group
from serving.decisions.playbook import Playbook, load_playbook
from serving.decisions.policy import SUPPRESSIONS
from serving.decisions.predicates import FACTS, Condition
from tests.serving.customers import AS_OF, crowd, customers

PLAYBOOK = load_playbook()
OPEN = replace(PLAYBOOK, control_share=0.0)
BY_ID = {action.id: action for action in PLAYBOOK.actions}
MARKETING = {action.id for action in PLAYBOOK.actions if action.is_marketing}


def proposed(
    frame: pd.DataFrame, playbook: Playbook = OPEN, language: Language = "en", **more: pd.DataFrame
) -> pd.DataFrame:
    return propose(frame, playbook, AS_OF, language, **more)


def only(*changes: dict[str, object], playbook: Playbook = OPEN, **more: list[str]) -> pd.Series:
    """The proposal for one customer."""
    return proposed(customers(*changes, **more), playbook).iloc[0]


crowds = st.integers(0, 2**32 - 1).map(lambda seed: crowd(60, seed))
quick = settings(max_examples=25, deadline=None)


@quick
@given(crowds, st.floats(0.0, 0.5))
def test_no_rule_is_ever_broken(frame: pd.DataFrame, share: float) -> None:
    out = proposed(frame, replace(PLAYBOOK, control_share=share))
    marketed = out["action_id"].isin(MARKETING)
    caps30 = frame["contact_tier"].map({tier: cap.days_30 for tier, cap in PLAYBOOK.caps.items()})
    caps90 = frame["contact_tier"].map({tier: cap.days_90 for tier, cap in PLAYBOOK.caps.items()})
    assert (frame["offers_received_30d"] < caps30)[marketed].all()
    assert (frame["offers_received_90d"] < caps90)[marketed].all()
    assert not (marketed & out["control_group"]).any()
    assert not (marketed & (frame["complaints_open"] > 0)).any()
    agreed = [c in allowed for c, allowed in zip(out["action_channel"], frame["consented_channels"], strict=True)]
    assert pd.Series(agreed, index=frame.index)[marketed].all()
    gap = (pd.Timestamp(AS_OF.instant) - frame["last_offer_at"]) / pd.Timedelta(days=1)
    assert not (marketed & (gap < PLAYBOOK.minimum_gap_days)).any()
    costly = out["action_id"].isin([action.id for action in PLAYBOOK.actions if action.spends_money])
    assert frame["margin_rate"].notna()[costly].all()


@quick
@given(crowds, st.floats(0.0, 0.5))
def test_every_proposal_is_whole(frame: pd.DataFrame, share: float) -> None:
    out = proposed(frame, replace(PLAYBOOK, control_share=share))
    assert list(out.index) == list(frame.index)
    assert ((out["propensity"] > 0) & (out["propensity"] <= 1)).all()
    for _, row in out.iterrows():
        assert row["eligible_actions"][-1] == "do_nothing"
        assert row["action_id"] in row["eligible_actions"]
        assert row["action_reason"]
        assert row["human_task"] == pd.notna(row["due_by"])
        assert "{" not in row["action_reason"]
    idle = out["action_id"] == "do_nothing"
    assert (out["expected_incremental_value"][idle] == 0).all()
    assert out.loc[idle, ["action_channel", "evidence", "content_kind"]].isna().all(axis=None)
    assert out.loc[~idle, ["action_channel", "evidence", "content_kind"]].notna().all(axis=None)
    chosen_by_value = ~idle & ~out["human_task"]
    assert (out["expected_incremental_value"][chosen_by_value] > 0).all()


@quick
@given(crowds, st.randoms(use_true_random=False))
def test_the_order_of_customers_and_their_company_are_irrelevant(frame: pd.DataFrame, random: object) -> None:
    whole = proposed(frame, PLAYBOOK)
    shuffled = list(frame.index)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(proposed(frame.loc[shuffled], PLAYBOOK).loc[frame.index], whole)
    pd.testing.assert_frame_equal(proposed(frame.iloc[:20], PLAYBOOK), whole.iloc[:20])


@quick
@given(crowds, st.sampled_from(PLAYBOOK.actions), st.integers(0, len(PLAYBOOK.actions)))
def test_an_action_that_nobody_may_have_changes_nothing(frame: pd.DataFrame, action: object, place: int) -> None:
    never = (Condition(FACTS["orders"], at_least=1e9),)
    idle = replace(action, id="never_due", conditions=never, churn_reduction=1.0)  # type: ignore[type-var]
    actions = (*PLAYBOOK.actions[:place], idle, *PLAYBOOK.actions[place:])
    pd.testing.assert_frame_equal(proposed(frame, replace(PLAYBOOK, actions=actions)), proposed(frame, PLAYBOOK))


def test_the_same_frame_gives_the_same_proposals() -> None:
    frame = crowd(500)
    before = frame.copy(deep=True)
    pd.testing.assert_frame_equal(proposed(frame, PLAYBOOK), proposed(frame, PLAYBOOK))
    pd.testing.assert_frame_equal(frame, before)


def test_nobody_and_an_empty_playbook_are_allowed() -> None:
    assert len(proposed(crowd(3).iloc[:0])) == 0
    out = proposed(crowd(3), replace(PLAYBOOK, actions=()))
    assert out["action_id"].tolist() == ["do_nothing"] * 3
    assert out["propensity"].tolist() == [1.0] * 3


def test_the_control_share_is_realised_and_stands() -> None:
    ids = [f"customer-{i}" for i in range(20_000)]
    tenth = control_group(ids, "salt", 0.1)
    # five standard errors of a share of .1 among 20,000
    assert abs(tenth.mean() - 0.1) < 5 * np.sqrt(0.09 / 20_000)
    assert (control_group(ids, "salt", 0.1) == tenth).all()
    assert (control_group(ids, "salt", 0.3) >= tenth).all()
    other = control_group(ids, "other salt", 0.1)
    assert abs((tenth & other).mean() - 0.01) < 5 * np.sqrt(0.0099 / 20_000)
    assert not control_group(ids, "salt", 0.0).any()


def test_propensities_are_how_often_the_draw_really_falls_that_way() -> None:
    """Over many salts, each customer gets each action as often as its propensity said."""
    frame, salts, share = crowd(100), 150, 0.3
    runs = [proposed(frame, replace(PLAYBOOK, control_share=share, control_salt=f"salt {i}")) for i in range(salts)]
    actions = np.stack([run["action_id"].to_numpy() for run in runs])
    stated = np.stack([run["propensity"].to_numpy() for run in runs])
    # five standard errors of a share among 150
    bound = 5 * np.sqrt(share * (1 - share) / salts)
    for column in range(len(frame)):
        for action in np.unique(actions[:, column]):
            drawn = actions[:, column] == action
            assert np.ptp(stated[drawn, column]) == 0
            assert abs(drawn.mean() - stated[drawn, column][0]) <= bound * (stated[drawn, column][0] < 1)
    matters = (stated < 1).all(axis=0)
    assert matters.sum() > 20
    # Weighting by 1 / propensity counts every customer once: the identity off-policy evaluation rests on.
    treated = np.stack([~run["control_group"].to_numpy() for run in runs])
    assert abs((treated / stated)[:, matters].mean() - 1) < 0.03


def test_control_gets_no_marketing_but_a_person_still_answers_a_complaint() -> None:
    everyone = replace(PLAYBOOK, control_share=1 - 2**-40)
    out = proposed(customers({}, {"complaints_open": 1.0}), everyone)
    assert out["action_id"].tolist() == ["do_nothing", "complaint_call"]
    assert out["suppressed_by"].iloc[0] == "control_group"
    assert pd.isna(out["suppressed_by"].iloc[1])
    assert out["propensity"].tolist() == [pytest.approx(1.0), 1.0]
    assert out["control_group"].all()


def test_control_is_told_what_it_misses_even_when_something_better_was_blocked() -> None:
    by_phone = replace(BY_ID["cross_sell"], id="by_phone", channels=("phone",), spend_lift=1.0)
    book = replace(PLAYBOOK, actions=(by_phone, BY_ID["cross_sell"]), control_share=1 - 2**-40)
    row = only({}, playbook=book, consented=["email"])
    assert (row["action_id"], row["suppressed_by"]) == ("do_nothing", "control_group")
    treated = only({}, playbook=replace(book, control_share=0.0), consented=["email"])
    assert (treated["action_id"], treated["suppressed_by"]) == ("cross_sell", "no_consent")
    named = replace(by_phone, title={"en": "Ring", "zh": "致电"})
    row = only({}, playbook=replace(book, actions=(named, BY_ID["cross_sell"])), consented=["email"])
    assert row["action_reason"].startswith("“Something that goes with what they buy” would be next")


def test_the_best_value_wins_and_is_computed_as_stated() -> None:
    row = only({"money_at_risk": 100.0, "expected_spend": 200.0})
    rivals = [BY_ID[name] for name in row["eligible_actions"][:-1]]
    worth = {a.id: a.churn_reduction * 100.0 + a.spend_lift * 200.0 * 0.4 for a in rivals}
    assert len(worth) > 1
    assert row["action_id"] == max(worth, key=worth.__getitem__)
    assert row["expected_incremental_value"] == pytest.approx(max(worth.values()))
    assert row["evidence"] == "assumed"


def test_a_discount_is_paid_on_orders_that_would_have_come_anyway() -> None:
    leaving = {"value_tier": "at_risk", "lifecycle_stage": "at_risk", "churn_probability": 0.8}
    coupon = replace(OPEN, actions=(BY_ID["win_back_coupon"],))
    row = only({**leaving, "money_at_risk": 100.0, "expected_spend": 50.0}, playbook=coupon)
    earned = 0.06 * 100.0 + 0.05 * 50.0 * 0.4
    cost = 0.10 * 30.0 * (1 - 0.8 * (1 - 0.06))
    assert row["expected_incremental_value"] == pytest.approx(earned - cost)
    poor = only({**leaving, "money_at_risk": 1.0, "expected_spend": 5.0}, playbook=coupon)
    assert poor["action_id"] == "do_nothing"
    assert poor["eligible_actions"] == ["win_back_coupon", "do_nothing"]
    assert poor["action_reason"] == "Nothing that fits is expected to earn more than it costs."
    assert pd.isna(poor["suppressed_by"])


def test_without_a_margin_nothing_that_spends_money_is_proposed() -> None:
    dormant = {"value_tier": "dormant_high_value", "money_at_risk": 500.0}
    kit = replace(OPEN, actions=(BY_ID["wake_up_kit"], BY_ID["cross_sell"]))
    assert only(dormant, playbook=kit)["action_id"] == "wake_up_kit"
    for unknown in ({"margin_rate": np.nan}, {"clv_basis": "revenue"}):
        row = only({**dormant, **unknown}, playbook=kit)
        assert row["action_id"] == "cross_sell"
        assert row["suppressed_by"] == "margin_unknown"


@pytest.mark.parametrize("column", ["money_at_risk", "expected_spend", "expected_order_value"])
def test_an_unknown_amount_earns_nothing_and_never_spends(column: str) -> None:
    row = only({column: np.nan, "value_tier": "at_risk", "lifecycle_stage": "at_risk"})
    assert np.isfinite(row["expected_incremental_value"])
    assert "–" not in row["action_reason"] or column == "money_at_risk"


@pytest.mark.parametrize(
    ("change", "consented", "code"),
    [
        ({}, [], "no_consent"),
        ({}, ["social", "mail"], None),
        ({"last_offer_at": AS_OF.instant - timedelta(days=2.9)}, None, "cooldown"),
        ({"last_offer_at": AS_OF.instant - timedelta(days=3.1)}, None, None),
        ({"offers_received_30d": 1.0}, None, "cap_reached"),
        ({"offers_received_90d": 3.0}, None, "cap_reached"),
        ({"offers_received_90d": 2.0}, None, None),
        ({"offers_received_30d": 3.0, "contact_tier": "high_value"}, None, None),
        ({"offers_received_30d": 4.0, "contact_tier": "high_value"}, None, "cap_reached"),
    ],
)
def test_each_rule_holds_marketing_back_and_says_so(
    change: dict[str, object], consented: list[str] | None, code: str | None
) -> None:
    tips = replace(OPEN, actions=(BY_ID["cross_sell"],))
    row = proposed(customers(change, consented=consented), tips).iloc[0]
    assert row["action_id"] == ("cross_sell" if code is None else "do_nothing")
    assert row["suppressed_by"] == code or (code is None and pd.isna(row["suppressed_by"]))
    if code:
        assert row["action_reason"].startswith("“Something that goes with what they buy” would be next, but ")


def test_an_action_cools_down_while_others_may_go() -> None:
    book = replace(OPEN, actions=(BY_ID["cross_sell"], BY_ID["loyalty_recognition"]))
    ago = {"last_offer_at": AS_OF.instant - timedelta(days=20), "expected_spend": 500.0}
    row = only({**ago, "last_action_id": "cross_sell"}, playbook=book)
    assert (row["action_id"], row["suppressed_by"]) == ("loyalty_recognition", "cooldown")
    assert only({**ago, "last_action_id": "campaign_13"}, playbook=book)["action_id"] == "cross_sell"


def test_no_marketing_while_a_complaint_is_open_and_a_person_answers_in_two_hours() -> None:
    row = only({"complaints_open": 1.0, "contact_tier": "high_value", "churn_probability": 0.9}, consented=[])
    assert row["action_id"] == "complaint_call"
    assert row["action_channel"] == "phone"
    assert row["due_by"] == pd.Timestamp(AS_OF.instant + timedelta(hours=2))
    assert row["human_task"]
    unanswered = replace(OPEN, actions=(BY_ID["cross_sell"],))
    assert only({"complaints_open": 1.0}, playbook=unanswered)["suppressed_by"] == "open_complaint"


def test_a_high_value_customer_at_risk_gets_a_person_and_never_an_automated_offer() -> None:
    at_risk = {"contact_tier": "high_value", "churn_probability": 0.5, "money_at_risk": 900.0}
    row = only(at_risk)
    assert row["action_id"] == "high_value_rescue_call"
    assert row["due_by"] == pd.Timestamp(AS_OF.instant + timedelta(hours=24))
    called = {"last_action_id": "high_value_rescue_call", "last_offer_at": AS_OF.instant - timedelta(days=10)}
    after = only({**at_risk, **called})
    assert after["action_id"] == "quarterly_visit"
    assert after["suppressed_by"] == "cooldown"
    automated = replace(OPEN, actions=(BY_ID["high_value_rescue_call"], BY_ID["early_access"]))
    assert only({**at_risk, **called}, playbook=automated)["action_id"] == "do_nothing"


def test_urgency_outranks_money_and_the_lower_number_comes_first() -> None:
    both = {"complaints_open": 1.0, "order_value_last_ratio": 10.0, "days_since_last_order": 1.0}
    assert only(both)["action_id"] == "complaint_call"
    assert only({**both, "complaints_open": 0.0})["action_id"] == "large_purchase_call"
    nothing_at_stake = {**both, "complaints_open": 0.0, "money_at_risk": 0.0, "expected_spend": 0.0}
    assert only(nothing_at_stake)["action_id"] == "large_purchase_call"


def test_the_playbook_order_breaks_ties() -> None:
    first, second = BY_ID["cross_sell"], replace(BY_ID["cross_sell"], id="twin")
    assert only({}, playbook=replace(OPEN, actions=(first, second)))["action_id"] == "cross_sell"
    assert only({}, playbook=replace(OPEN, actions=(second, first)))["action_id"] == "twin"


def test_the_customers_own_channel_goes_first_when_agreed() -> None:
    book = replace(OPEN, actions=(BY_ID["cross_sell"],))
    assert only({}, playbook=book)["action_channel"] == "email"
    assert only({"favourite_channel": "social"}, playbook=book)["action_channel"] == "social"
    assert only({"favourite_channel": "phone"}, playbook=book)["action_channel"] == "email"
    assert only({"favourite_channel": "social"}, playbook=book, consented=["app"])["action_channel"] == "app"


def test_committed_decisions_count_until_the_records_have_them() -> None:
    book = replace(OPEN, actions=(BY_ID["cross_sell"], BY_ID["complaint_call"]))

    def history(action: str, days_ago: float) -> pd.DataFrame:
        when = pd.Timestamp(AS_OF.instant - timedelta(days=days_ago))
        return pd.DataFrame({"customer_id": ["C0"], "action_id": [action], "decided_at": [when]})

    def rule(history: pd.DataFrame, **change: object) -> object:
        return proposed(customers(change), book, history=history)["suppressed_by"].fillna("free").iloc[0]

    assert rule(history("cross_sell", 1)) == "cooldown"
    assert rule(history("early_access", 20)) == "cap_reached"
    assert rule(history("early_access", 40)) == "free"
    assert rule(history("do_nothing", 1)) == "free"
    assert rule(history("complaint_call", 1)) == "free"
    sent = {"last_offer_at": AS_OF.instant - timedelta(days=10), "offers_received_90d": 1.0}
    assert rule(history("early_access", 20), **sent) == "free"
    again = proposed(customers({"complaints_open": 1.0}), book, history=history("complaint_call", 0.5)).iloc[0]
    assert again["action_id"] == "do_nothing"
    assert proposed(customers({"complaints_open": 1.0}), book)["action_id"].iloc[0] == "complaint_call"
    assert rule(history("cross_sell", -0.5)) == "cooldown"
    ever = replace(book, actions=(replace(BY_ID["complaint_call"], cooldown_days=0.0),))
    just_now = history("complaint_call", -0.5)
    again = proposed(customers({"complaints_open": 1.0}), ever, history=just_now).iloc[0]
    assert again["action_id"] == "complaint_call"


def test_reasons_speak_the_language_with_the_customers_numbers() -> None:
    frame = customers({"frequency": 0.0, "tenure_days": 5.0, "days_since_last_order": 5.0, "value_tier": "new"})
    book = replace(OPEN, actions=(BY_ID["first_order_follow_up"],))
    assert proposed(frame, book)["action_reason"].iloc[0] == (
        "First order 5 days ago and no second one yet: ask a question about using it."
    )
    assert proposed(frame, book, "zh")["action_reason"].iloc[0] == "首单距今5天，尚未复购，询问使用中的问题。"


def test_a_category_name_with_braces_is_text() -> None:
    row = only({"favourite_category": "{clv} & {0}"}, playbook=replace(OPEN, actions=(BY_ID["cross_sell"],)))
    assert row["action_reason"].startswith("Buys mostly {clv} & {0}, 2 categories")


@pytest.mark.parametrize(
    ("birthday", "today", "days"),
    [
        ("1990-06-01", date(2024, 6, 1), 0),
        ("1990-06-08", date(2024, 6, 1), 7),
        ("1990-05-31", date(2024, 6, 1), 364),
        ("2000-02-29", date(2024, 2, 28), 1),
        ("2000-02-29", date(2023, 2, 28), 1),
        ("1999-12-31", date(2024, 1, 1), 365),
        ("1990-01-01", date(2023, 12, 31), 1),
    ],
)
def test_days_to_the_birthday(birthday: str, today: date, days: int) -> None:
    as_of = AsOf(datetime(today.year, today.month, today.day, 12, tzinfo=UTC), today)
    frame = customers({"birthday": pd.Timestamp(birthday)})
    assert FACTS["days_to_birthday"].values(frame, as_of).tolist() == [days]


def test_a_birthday_is_counted_in_the_customers_zone() -> None:
    as_of = AsOf(datetime(2024, 6, 1, 20, tzinfo=UTC), date(2024, 6, 1))
    zones = ["Asia/Shanghai", "Europe/London", None, "Mars/Olympus"]
    frame = customers(*({"birthday": pd.Timestamp("1990-06-02"), "timezone": zone} for zone in zones))
    assert FACTS["days_to_birthday"].values(frame, as_of).tolist() == [0, 1, 1, 1]


def test_never_contacted_counts_as_forever_ago() -> None:
    frame = customers({"days_since_last_offer": np.nan})
    assert (
        Condition(FACTS["days_since_last_contact"], at_least=80)
        .holds(FACTS["days_since_last_contact"].values(frame, AS_OF))
        .all()
    )


def test_a_missing_column_is_named() -> None:
    with pytest.raises(PlaybookError, match=r"open_complaints.*needs column complaints_open"):
        proposed(customers({}).drop(columns="complaints_open"))


def test_an_unknown_contact_tier_is_named() -> None:
    with pytest.raises(PlaybookError, match=r"\[caps\] has no entry for contact tier 'vip'"):
        proposed(customers({"contact_tier": "vip"}))


def test_every_suppression_code_has_both_languages() -> None:
    assert len({code.code for code in SUPPRESSIONS}) == len(SUPPRESSIONS)
    assert all(code.meaning_en and code.meaning_zh for code in SUPPRESSIONS)
    assert set(CONTACT_CHANNELS) >= {c for action in PLAYBOOK.actions for c in action.channels}
