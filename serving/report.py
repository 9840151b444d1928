"""One offline HTML file that a marketer reads: the score files in words and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from perennial.errors import OutputError
from perennial.files import replacing
from serving import charts
from serving.batch import ScoreSet, read_scores
from serving.codes import CHURN_BANDS, CODE_LISTS, Language, churn_band
from serving.lists import READY_LISTS
from serving.report_facts import HISTOGRAM_BINS, Facts, Group, collect
from serving.report_words import LANGUAGE_NAMES, Words
from serving.totals import Total


def write_report(scores_dir: Path, output: Path, language: Language) -> Language:
    """Write the report on verified score files; it opens without a network, and on failure the old one stays.

    Returns the language that the scores' own texts, reasons above all, stand in.
    """
    scored = read_scores(Path(scores_dir))
    _replace(Path(output), render(scored, language).encode())
    return scored.manifest.language


def render(scored: ScoreSet, language: Language) -> str:
    """Return the report as HTML; equal scores give equal text."""
    facts, words = collect(scored), Words(language, scored.manifest)
    environment = Environment(
        loader=PackageLoader("serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        w=words,
        t=words.say,
        m=scored.manifest,
        f=facts,
        pictures=_pictures(facts, words),
        definition=scored.manifest.churn_definition.words(scored.manifest.horizon_days, language),
        basis=words.say(f"basis_{scored.manifest.clv_basis}"),
        evidence=_evidence(facts),
        bounds=_band_bounds(words),
        riskiest_stage=words.label("lifecycle_stage", max(facts.stages, key=lambda group: group.money_at_risk).code),
        never=int(scored.scores["next_order_expected_on"].isna().sum()),
        lists=[(ready, scored.manifest.files[f"segments/{ready.name}.csv"].rows) for ready in READY_LISTS],
        language_names=LANGUAGE_NAMES,
        colours=charts.BAND_COLOURS,
    )


def _evidence(facts: Facts) -> str:
    kinds = {kind for action in facts.plan.actions for kind in action.evidence}
    return "mixed" if len(kinds) > 1 else next(iter(kinds), "assumed")


def _band_bounds(words: Words) -> dict[str, str]:
    lower = list(CHURN_BANDS.values())
    upper = [*lower[1:], 1.0]
    return {
        band: f"{words.percent(low)}–{words.percent(high)}"
        for band, low, high in zip(CHURN_BANDS, lower, upper, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Pictures:
    """The report's charts, ready to stand in the page."""

    bands: Markup
    histogram: Markup
    concentration: Markup
    tiers: Markup
    heat: Markup
    weeks: Markup
    sales: Markup


def _pictures(facts: Facts, words: Words) -> Pictures:
    return Pictures(
        bands=_bands(facts.bands, words),
        histogram=_histogram(facts, words),
        concentration=_concentration(facts, words),
        tiers=_tiers(facts.tiers, words),
        heat=_heat(facts, words),
        weeks=_weeks(facts, words),
        sales=_sales(facts.tier_totals, words),
    )


def _bands(bands: Sequence[Group], words: Words) -> Markup:
    parts = [
        (
            f"{words.label('churn_band', band.code)} {words.percent(band.share)}",
            band.share,
            charts.BAND_COLOURS[band.code],
            words.count(band.customers),
        )
        for band in bands
    ]
    return charts.stacked("bands", parts, words.say("risk_h"), "; ".join(f"{part[0]}: {part[3]}" for part in parts))


def _histogram(facts: Facts, words: Words) -> Markup:
    edges = [number / HISTOGRAM_BINS for number in range(HISTOGRAM_BINS + 1)]
    low_high = [(words.percent(low), words.percent(high)) for low, high in pairwise(edges)]
    tips = [
        words.say("risk_tip", low=low, high=high, count=words.count(count))
        for (low, high), count in zip(low_high, facts.histogram, strict=True)
    ]
    largest = low_high[facts.histogram.index(max(facts.histogram))]
    return charts.histogram(
        "hist",
        facts.histogram,
        [charts.BAND_COLOURS[band] for band in churn_band(np.array(edges[:-1]))],
        tips,
        words.say("risk_hist"),
        words.say("risk_hist_d", count=words.count(facts.headline.customers), low=largest[0], high=largest[1]),
        words.say("risk_axis", days=words.count(words.manifest.horizon_days)),
    )


def _concentration(facts: Facts, words: Words) -> Markup:
    if not facts.concentration:
        return Markup("")
    best = words.percent(facts.headline.best_tenth_share)
    return charts.curve(
        "lorenz",
        facts.concentration,
        (0.1, facts.concentration[2], words.say("value_curve_mark", best=best)),
        words.say("value_curve"),
        words.say("value_curve_d", best=best),
        (words.say("value_curve_x"), words.say("value_curve_y")),
    )


def _tiers(tiers: Sequence[Group], words: Words) -> Markup:
    rows = [
        (
            words.label("value_tier", tier.code),
            tier.share,
            tier.value_share,
            words.percent(tier.share),
            words.percent(tier.value_share),
        )
        for tier in tiers
    ]
    legend = (words.say("legend_customers"), words.say("legend_value"))
    return charts.pairs("tiers", rows, legend, words.say("value_pairs"), words.say("value_pairs_d"))


def _sales(totals: Sequence[Total], words: Words) -> Markup:
    """Draw what every value tier is expected to spend; nothing where the score files are older than totals."""
    if not totals:
        return Markup("")
    rows = [
        (
            total.label(words.language),
            total.expected_spend,
            total.expected_spend_low,
            total.expected_spend_high,
            words.with_range(total.expected_spend, total.expected_spend_low, total.expected_spend_high),
        )
        for total in totals
    ]
    most = max(rows, key=lambda row: row[1])
    days = words.count(words.manifest.horizon_days)
    described = words.say("sales_chart_d", tier=most[0], money=most[4])
    return charts.ranges("sales", rows, words.say("sales_chart", days=days), described)


def _heat(facts: Facts, words: Words) -> Markup:
    return charts.heat(
        "heat",
        [code.label(words.language) for code in CODE_LISTS["value_tier"]],
        [code.label(words.language) for code in CODE_LISTS["churn_band"]],
        facts.tier_by_band,
        [[words.money(cell) if cell else "–" for cell in row] for row in facts.tier_by_band],
        words.say("value_heat"),
        words.say("value_heat_d"),
    )


def _weeks(facts: Facts, words: Words) -> Markup:
    days, counts = [day for day, _ in facts.weeks], [count for _, count in facts.weeks]
    return charts.columns(
        "weeks",
        [words.short_day(day) for day in days],
        counts,
        [words.say("weeks_tip", day=words.day(day), count=words.count(count)) for day, count in facts.weeks],
        words.say("weeks_chart"),
        words.say(
            "weeks_chart_d",
            count=words.count(sum(counts)),
            weeks=words.count(len(counts)),
            busiest=words.day(days[counts.index(max(counts))]),
        ),
    )


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step; what stood there stays when that fails."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); the report there before is unchanged"
        ) from error
