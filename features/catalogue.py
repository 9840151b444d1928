"""Every feature of the snapshot: what it means, in which unit, and how to say it to a marketer.

The facts stand in ``catalogue.toml``; its order is the order of the snapshot's columns.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

Unit = Literal["count", "days", "money", "share", "mean", "times", "trend", "score", "points", "index"]
Direction = Literal["good", "bad", "neutral"]
Language = Literal["en", "zh"]
TREND_WORDS = MappingProxyType(
    {
        "en": ("down to nothing", "down {:.0%}", "unchanged", "up {:.0%}", "up from nothing"),
        "zh": ("降至零", "下降{:.0%}", "持平", "上升{:.0%}", "从零起步"),
    }
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One snapshot column.

    ``direction`` says whether a high value speaks for staying (good), for leaving (bad) or depends (neutral).
    ``kept_for`` names what shows its use or reads it, as the head of ``catalogue.toml`` explains; what is kept for no
    more than description is no ``model_input``.
    ``raises`` and ``lowers`` are the sentences for a customer whose value raises or lowers the risk of leaving,
    ``absent`` the one for a customer whose value is undefined; braces name snapshot columns.
    """

    name: str
    group: str
    unit: Unit
    direction: Direction
    model_input: bool
    kept_for: tuple[str, ...]
    meaning_en: str
    meaning_zh: str
    raises_en: str
    raises_zh: str
    lowers_en: str
    lowers_zh: str
    absent_en: str = ""
    absent_zh: str = ""

    def meaning(self, language: Language) -> str:
        """Return what the feature is, in words."""
        return self.meaning_zh if language == "zh" else self.meaning_en

    def reason(self, row: Mapping[str, float], *, raises: bool, language: Language) -> str:
        """Return the sentence that explains this feature's part in a customer's risk, with the customer's numbers.

        ``row`` holds the snapshot's values by column name; of a sentence's columns none may be missing from it.
        """
        zh = language == "zh"
        if not math.isfinite(row[self.name]):
            return self.absent_zh if zh else self.absent_en
        templates = (self.raises_zh, self.lowers_zh) if zh else (self.raises_en, self.lowers_en)
        return templates[0 if raises else 1].format_map(_Spoken(row, language))


@dataclass(frozen=True, slots=True)
class _Number:
    """A value as people say it; the format spec ``one|many`` adds a noun that agrees with it."""

    value: float
    unit: Unit
    language: Language

    def __format__(self, spec: str) -> str:
        text = self._text()
        if not spec:
            return text
        one, many = spec.split("|")
        if text == "0" and self.unit == "count":
            text = "no"
        return f"{text} {one if text == '1' else many}"

    def _text(self) -> str:
        value, unit = self.value, self.unit
        if unit == "trend":
            return _trend_text(value, self.language)
        if unit == "share":
            return f"{value:.0%}"
        if unit == "money":
            return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
        if unit == "points":
            return f"{value:+,.1f}"
        if unit == "index":
            return f"{value:.2f}"
        if unit in ("mean", "times"):
            return f"{value:,.1f}"
        return f"{value:,.0f}"


@dataclass(frozen=True, slots=True)
class _Spoken(Mapping[str, _Number]):
    """A snapshot row whose values format themselves in their column's unit."""

    row: Mapping[str, float]
    language: Language

    def __getitem__(self, name: str) -> _Number:
        return _Number(float(self.row[name]), FEATURES[name].unit, self.language)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)


def _trend_text(trend: float, language: Language) -> str:
    """Return (new - old) / (new + old) as the change from old to new; beyond +-1 one of the two was negative."""
    nothing_left, down, unchanged, up, from_nothing = TREND_WORDS[language]
    if trend <= -1:
        return nothing_left
    if trend >= 1:
        return from_nothing
    change = 2 * trend / (1 - trend)
    if abs(change) < 0.005:  # would be spoken of as 0 %
        return unchanged
    return (up if change > 0 else down).format(abs(change))


def _load() -> Mapping[str, Feature]:
    facts = tomllib.loads(files("features").joinpath("catalogue.toml").read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            name: Feature(name=name, group=group, **{"model_input": True, **fact, "kept_for": tuple(fact["kept_for"])})
            for group, members in facts.items()
            for name, fact in members.items()
        }
    )


FEATURES: Mapping[str, Feature] = _load()
MODEL_FEATURES = tuple(name for name, feature in FEATURES.items() if feature.model_input)
