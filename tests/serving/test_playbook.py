import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from perennial.errors import PlaybookError
from serving.decisions.playbook import DO_NOTHING, describe, load_playbook
from serving.decisions.predicates import FACTS

SHIPPED = (files("serving.decisions") / "playbook.toml").read_text(encoding="utf-8")


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """Write the shipped playbook with one edit."""
    assert old in SHIPPED
    path = tmp_path / "playbook.toml"
    path.write_text(SHIPPED.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_playbook_covers_what_a_business_does() -> None:
    playbook = load_playbook()
    ids = [action.id for action in playbook.actions]
    assert len(ids) >= 14
    assert len(set(ids)) == len(ids)
    assert {action.content_kind for action in playbook.actions} == {"value", "emotion", "call_to_action"}
    assert {action.kind for action in playbook.actions} == {"marketing", "service"}
    assert set(playbook.caps) == {"high_value", "potential", "ordinary"}
    assert playbook.caps["potential"].days_30 == 1
    assert 2 <= playbook.caps["ordinary"].days_90 <= 3
    assert 0 < playbook.control_share <= 0.5


def test_shipped_effects_are_modest_assumptions_with_a_source() -> None:
    for action in load_playbook().actions:
        assert action.evidence == "assumed"
        assert action.source
        assert -0.2 <= action.churn_reduction <= 0.2
        assert -0.2 <= action.spend_lift <= 0.2


def test_shipped_messages_cost_staff_minutes_or_nothing_but_offers_cost_money() -> None:
    costly = {action.id for action in load_playbook().actions if action.spends_money}
    assert costly == {"wake_up_kit", "win_back_coupon"}


def test_complaints_come_first_and_are_answered_in_two_hours() -> None:
    by_id = {action.id: action for action in load_playbook().actions}
    complaint = by_id["complaint_call"]
    assert (complaint.kind, complaint.urgency, complaint.deadline_hours) == ("service", 1, 2)
    assert all(a.urgency > 1 for a in by_id.values() if a.urgency is not None and a is not complaint)


def test_chinese_texts_are_chinese_and_say_the_same_numbers() -> None:
    for action in load_playbook().actions:
        assert re.search(r"[\u4e00-\u9fff]", action.title["zh"] + action.reason["zh"])
        assert not re.search(r"[\u4e00-\u9fff]", action.title["en"] + action.reason["en"])


def test_every_fact_has_a_meaning_in_both_languages() -> None:
    for fact in FACTS.values():
        assert fact.meaning_en
        assert re.search(r"[\u4e00-\u9fff]", fact.meaning_zh)


def test_the_version_is_the_content_and_the_draw_is_the_salt(tmp_path: Path) -> None:
    first = load_playbook()
    dearer = load_playbook(edited(tmp_path, "offer_cost = 8.0", "offer_cost = 9.0"))
    assert dearer.sha256 != first.sha256
    assert dearer.draw_id == first.draw_id
    assert load_playbook(edited(tmp_path, "control-1", "control-2")).draw_id != first.draw_id
    assert "perennial-standing" not in first.draw_id


def test_the_catalogue_is_a_code_list_with_do_nothing() -> None:
    codes = [code.code for code in load_playbook().codes]
    assert codes[-1] == DO_NOTHING
    assert len(codes) == len(load_playbook().actions) + 1


def test_describe_names_every_action_with_both_titles() -> None:
    playbook = load_playbook()
    text = "\n".join(describe(playbook))
    for action in playbook.actions:
        assert f"{action.id} (" in text
        assert action.title["zh"] in text
    assert "10% of customers get no marketing" in text
    assert "days_since_first_order ≥ 3 and ≤ 14" in text
    assert "30 min of a person within 2 h" in text


WRONG = [
    ('kind = "service"', 'kind = "servise"', r"\[actions\.complaint_call\] kind = 'servise'.*did you mean 'service'"),
    ('channels = ["phone", "email", "app"]', 'channels = ["fone"]', r"channels = 'fone'.*did you mean 'phone'"),
    ('channels = ["phone", "email", "app"]', "channels = []", r"complaint_call\] channels = \[\]: expected a list"),
    ('content = "emotion"', 'contents = "emotion"', r"content is missing; 'contents' stands there"),
    ("staff_minutes = 30", 'staff_minutes = "30"', r"staff_minutes = '30': expected a number from 0 to 1440"),
    ("staff_minutes = 30", "staff_minutes = true", r"staff_minutes = True: expected a number"),
    ("staff_minutes = 30\n", "", r"staff_minutes = 0: expected over 0"),
    ("deadline_hours = 2\n", "deadline_hour = 2\n", r"urgency = 1: expected deadline_hours beside it"),
    ("urgency = 1\n", "urgencey = 1\n", r"urgencey = 1: expected another key, one of .*did you mean 'urgency'"),
    ("urgency = 1\n", "urgency = 1.5\n", r"urgency = 1\.5: expected a whole number"),
    ("offer_cost = 8.0", "offer_cost = -1", r"\[actions\.wake_up_kit\] offer_cost = -1: expected a number from 0"),
    ("offer_cost = 8.0", "offer_cost = nan", r"offer_cost = nan: expected a number"),
    ("discount_rate = 0.10", "discount_rate = 10", r"discount_rate = 10: expected a number from 0 to 1"),
    ("open_complaints =", "open_complains =", r"when\] open_complains.*did you mean 'open_complaints'"),
    ("open_complaints =", "favourite_category =", r"when\] favourite_category.*expected one of"),
    (
        "{ at_least = 1 }",
        "{ atleast = 1 }",
        r"open_complaints\] atleast = 1: expected another key, one of at_least, at_most; did you mean 'at_least'",
    ),
    ("{ at_least = 1 }", "{}", r"open_complaints\] at_least = None: expected at_least, at_most or both"),
    ("{ at_least = 1 }", "1", r"open_complaints = 1: expected a table"),
    ("{ at_least = 3, at_most = 14 }", "{ at_least = 14, at_most = 3 }", r"not above at_most, which is 3"),
    ('contact_tier = ["high_value"]', 'contact_tier = ["high-value"]', r"'high-value'.*did you mean 'high_value'"),
    ("never_rated = true", 'never_rated = "yes"', r"never_rated = 'yes': expected true or false"),
    (
        '0.0\nevidence = "assumed"',
        '0.0\nevidence = "proven"',
        r"effect\] evidence = 'proven': expected one of assumed, measured",
    ),
    (
        '0.0\nevidence = "assumed"',
        '0.0\nevidence = "measured"',
        r"effect\.source = 'illustrative': expected the experiment",
    ),
    ('en = "Call about', 'fr = "Call about', r"\[actions\.complaint_call\.title\] en is missing"),
    ("{open_complaints}", "{open_complaint}", r"reason\] en = '\{open_complaint\}'.*did you mean 'open_complaints'"),
    ("{open_complaints}", "{open_complaints", r"every \{ closed by a \}"),
    ("{open_complaints}", "{open_complaints:>9}", r"reason\] en = '\{open_complaints\}'"),
    ("share = 0.10", "share = 10", r"\[control\] share = 10: expected a number from 0 to 0\.5"),
    ("share = 0.10", "shares = 0.10", r"\[control\] share is missing; 'shares' stands there"),
    ("potential = { days_30 = 1, days_90 = 3 }", "potential = { days_30 = 4, days_90 = 3 }", r"at least days_30"),
    ("potential = {", "potentail = {", r"\[caps\] potential is missing; 'potentail' stands there"),
    ("minimum_gap_days = 3", "minimum_gap_days = 3\nhourly = 1", r"\[caps\] hourly = 1: expected another key"),
    ("[control]", "[extra]\n[control]", r"extra = .*expected another key"),
    ("[actions.complaint_call]\n", "[actions.do_nothing]\n", r"do_nothing is built in"),
    ("[actions.complaint_call]\n", '[actions."complaint call"]\n', r"expected lower-case letters"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(PlaybookError, match=message) as caught:
        load_playbook(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('lifecycle_stage = ["at_risk", "churned"]\nvalue_tier', "clv = { at_most = 50 }\nvalue_tier", "no prediction"),
        (
            'lifecycle_stage = ["at_risk", "churned"]\nvalue_tier = ["dormant_high_value", "at_risk", "hibernating"]\n',
            "",
            "who gets a discount",
        ),
    ],
)
def test_a_discount_follows_declared_tiers_and_no_prediction(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(PlaybookError, match=rf"win_back_coupon\] when.*{message}"):
        load_playbook(edited(tmp_path, old, new))


def test_an_action_without_conditions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="at least one condition"):
        load_playbook(edited(tmp_path, "open_complaints = { at_least = 1 }\n", ""))


def test_a_file_that_is_missing_not_text_or_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "playbook.toml"
    with pytest.raises(PlaybookError, match="cannot be read"):
        load_playbook(path)
    path.write_bytes("标题".encode("gbk"))
    with pytest.raises(PlaybookError, match="save it as UTF-8"):
        load_playbook(path)
    path.write_text("[control", encoding="utf-8")
    with pytest.raises(PlaybookError, match="not valid TOML"):
        load_playbook(path)


def test_a_byte_order_mark_from_a_windows_editor_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "playbook.toml"
    path.write_text(SHIPPED, encoding="utf-8-sig")
    assert load_playbook(path).actions == load_playbook().actions


def test_the_comments_in_the_file_name_every_key_that_is_read() -> None:
    """A marketer learns the keys from the file's own head."""
    head = SHIPPED[: SHIPPED.index("[control]")]
    keys = {key for action in tomllib.loads(SHIPPED)["actions"].values() for key in action}
    effects = tomllib.loads(SHIPPED)["actions"]["wake_up_kit"]["effect"]
    for key in (keys - {"when", "effect", "title", "reason"}) | effects.keys() | {"contact_cost", "evidence"}:
        assert key in head, key
