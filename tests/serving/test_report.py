import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

from perennial.errors import OutputError
from serving.batch import ScoreSet, write_scores
from serving.charts import BAND_COLOURS, histogram
from serving.codes import CHURN_BANDS, CODE_LISTS, Language
from serving.report import write_report
from serving.report_facts import Facts, collect
from serving.report_words import Words, sentences
from tests.serving.handmade import ACTIONS, CANARY, HandmadeRun, manifest, run, with_cells

LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Page(HTMLParser):
    """What a page holds: tags in order, their attributes, and its text."""

    VOID = frozenset(
        {"meta", "link", "br", "img", "input", "hr", "path", "rect", "line", "circle", "polygon", "polyline"}
    )

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(folder: Path, made: HandmadeRun, language: Language = "en") -> Page:
    write_scores(made, folder / "scores")
    write_report(folder / "scores", folder / "report.html", language)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def facts_of(made: HandmadeRun) -> Facts:
    return collect(ScoreSet(made.manifest, made.scores))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_needs_no_network_and_runs_nothing(tmp_path: Path, language: Language) -> None:
    page = page_of(tmp_path, run(200), language)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//[a-z]|url\(|@import", re.sub(r'xmlns="[^"]*"', "", html))
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    references = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert references
    assert all(reference is not None and reference[1:] in ids for reference in references)
    assert any(attributes.get("http-equiv") == "Content-Security-Policy" for _, attributes in page.tags)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_people_typed_is_shown_and_never_run(tmp_path: Path, language: Language) -> None:
    made = with_cells(
        run(60, source=CANARY, actions=(*ACTIONS[1:], type(ACTIONS[0])("do_nothing", CANARY, CANARY))),
        {
            "customer_id": [CANARY],
            "reason_1": [CANARY],
            "action_reason": [CANARY],
            "action_channel": [CANARY],
            "consented_channels": [CANARY],
            "money_at_risk": [1e9],
            "churn_band": ["critical"],
            "lifecycle_stage": ["stable"],
            "control_group": [False],
        },
    )
    page = page_of(tmp_path, made, language)
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.text.count(CANARY) >= 5


def test_the_headline_says_the_numbers_of_the_scores(tmp_path: Path) -> None:
    made = run(400)
    text = page_of(tmp_path, made).text
    scores = made.scores
    words = Words("en", made.manifest)
    assert "Of 400 customers" in text
    assert f"about {scores['churn_probability'].sum():,.0f} are expected not to buy in the next 28 days" in text
    assert f"for {(scores['churn_probability'] >= 0.5).sum()} of them" in text
    assert words.money(scores["money_at_risk"].sum()) in text
    assert "Values are revenue, not profit" in text
    assert "nothing has been measured here yet" in text
    assert "need_type" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_stands_in_its_language(tmp_path: Path, language: Language) -> None:
    text = page_of(tmp_path, run(200), language).text
    for key in ("call_h", "risk_h", "value_h", "life_h", "plan_h", "weeks_h", "control_h", "lists_h", "read_h"):
        assert sentences()[language][key] in text
    for name in ("churn_band", "value_tier", "lifecycle_stage", "contact_tier"):
        for code in CODE_LISTS[name]:
            assert code.label(language) in text
    other = "zh" if language == "en" else "en"
    assert sentences()[other]["call_h"] not in text


def test_both_languages_say_the_same_things() -> None:
    def numbers(sentence: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(sentence) if name}

    assert set(sentences()["en"]) == set(sentences()["zh"])
    for key, sentence in sentences()["en"].items():
        other = numbers(sentences()["zh"][key])
        assert numbers(sentence) == other, key


def test_each_picture_says_in_words_what_it_shows(tmp_path: Path) -> None:
    page = page_of(tmp_path, run(200))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert len(pictures) == 7
    for picture in pictures:
        assert all(name in ids for name in str(picture["aria-labelledby"]).split())
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")


@pytest.mark.parametrize("language", LANGUAGES)
def test_sums_are_told_with_the_range_they_will_lie_in(tmp_path: Path, language: Language) -> None:
    made = run(200, language=language)
    page, words = page_of(tmp_path, made, language), Words(language, made.manifest)
    everybody, *groups = made.manifest.totals
    assert words.range_of(everybody.clv_low, everybody.clv_high) in page.text
    for tier in (group for group in groups if group.grouping == "value_tier"):
        assert words.range_of(tier.expected_spend_low, tier.expected_spend_high) in page.text, tier.code


def test_score_files_older_than_totals_still_make_a_report(tmp_path: Path) -> None:
    text = page_of(tmp_path, run(50, totals=())).text
    assert "Of 50 customers" in text
    assert sentences()["en"]["totals_h"] not in text


def test_groups_add_up_to_everybody() -> None:
    made = run(403)
    facts = facts_of(made)
    for groups in (facts.bands, facts.tiers, facts.stages, [cell for row in facts.matrix for cell in row]):
        assert sum(group.customers for group in groups) == 403
        assert sum(group.money_at_risk for group in groups) == pytest.approx(made.scores["money_at_risk"].sum())
    assert sum(facts.histogram) == 403
    assert sum(sum(row) for row in facts.tier_by_band) == pytest.approx(made.scores["money_at_risk"].sum())
    dated = made.scores["next_order_expected_on"].notna().sum()
    assert sum(count for _, count in facts.weeks) + facts.later == dated
    assert facts.plan.acted_on + facts.plan.unmoved == 403
    assert sum(action.customers for action in facts.plan.actions) == facts.plan.acted_on
    low, high = facts.headline.leavers_low, facts.headline.leavers_high
    assert low < facts.headline.leavers < high


def test_the_range_of_leavers_holds_nine_times_in_ten() -> None:
    made = run(400)
    churn = made.scores["churn_probability"].to_numpy()
    headline = facts_of(made).headline
    draws = (np.random.default_rng(7).random((2000, 400)) < churn).sum(axis=1)
    inside = ((draws >= headline.leavers_low) & (draws <= headline.leavers_high)).mean()
    assert 0.87 <= inside <= 0.93


def test_nobody_is_called_who_must_not_be() -> None:
    made = run(300)
    facts = facts_of(made)
    called = facts.call_first
    assert len(called) == 20
    assert called["money_at_risk"].is_monotonic_decreasing
    assert not called["control_group"].any()
    assert called["consented_channels"].notna().all()
    assert "churned" not in set(called["lifecycle_stage"])
    assert facts.passed_over > 0


def test_assumed_values_are_marked_as_assumed(tmp_path: Path) -> None:
    page = page_of(tmp_path, run(100))
    assert "Assumed, not measured." in page.text
    measured = run(100)
    measured.scores["evidence"] = measured.scores["evidence"].replace("assumed", "measured")
    text = page_of(tmp_path / "measured", measured).text
    assert "Assumed, not measured." not in text
    assert "effects measured here" in text


def test_a_single_customer_and_no_consent_still_make_a_report(tmp_path: Path) -> None:
    made = with_cells(run(1), {"consented_channels": [None], "clv": [0.0], "next_order_expected_on": [None]})
    text = page_of(tmp_path, made).text
    assert "Of 1 customers" in text
    assert "Nobody on the early-warning list may be contacted today: no consent" in text


def test_the_same_scores_give_the_same_page(tmp_path: Path) -> None:
    write_scores(run(100), tmp_path / "scores")
    for name in ("a.html", "b.html"):
        write_report(tmp_path / "scores", tmp_path / name, "en")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_reasons_in_another_language_are_announced(tmp_path: Path) -> None:
    assert "perennial score --language zh" in page_of(tmp_path, run(50), "zh").text
    assert write_report(tmp_path / "scores", tmp_path / "report.html", "zh") == "en"
    assert "perennial score --language" not in page_of(tmp_path / "en", run(50), "en").text


def test_altered_scores_leave_the_last_report(tmp_path: Path) -> None:
    page_of(tmp_path, run(50))
    before = (tmp_path / "report.html").read_bytes()
    (tmp_path / "scores" / "scores.parquet").write_bytes(b"torn")
    with pytest.raises(OutputError, match=r"scores\.parquet"):
        write_report(tmp_path / "scores", tmp_path / "report.html", "en")
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_report_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    write_scores(run(20), tmp_path / "scores")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match=r"taken: cannot be written"):
        write_report(tmp_path / "scores", tmp_path / "taken", "en")
    assert not list(tmp_path.glob(".taken.*"))


@pytest.mark.parametrize(
    ("amount", "en", "zh"),
    [
        (0, "$0", "$0"),
        (12.345, "$12.35", "$12.35"),
        (-48120.4, "−$48,120", "−$48,120"),
        (1_234_567, "$1,234,567", "$123.5万"),
        (23_456_789, "$23.5 million", "$2,345.7万"),
        (345_000_000, "$345.0 million", "$3.45亿"),
    ],
)
def test_money_is_said_the_way_people_say_it(amount: float, en: str, zh: str) -> None:
    assert Words("en", manifest(1)).money(amount) == en
    assert Words("zh", manifest(1)).money(amount) == zh
    assert Words("en", manifest(1)).brief_money(4_295_497) == "$4.30M"
    assert Words("en", manifest(1, currency="SEK")).money(5000) == "SEK 5,000"


def test_shares_never_round_to_certainty() -> None:
    words = Words("en", manifest(1))
    assert [words.percent(share) for share in (0, 0.0004, 0.034, 0.5, 0.997, 1)] == [
        "0%",
        "<0.1%",
        "3.4%",
        "50%",
        "99.7%",
        "100%",
    ]


def test_bands_keep_their_colours_and_text_is_escaped_in_pictures() -> None:
    assert set(BAND_COLOURS) == set(CHURN_BANDS)
    picture = histogram("h", [1, 0], ["#000000", "#ffffff"], [CANARY, ""], CANARY, CANARY, CANARY)
    assert "<script" not in picture
    assert picture.count("&lt;script&gt;") == 4
