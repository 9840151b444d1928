"""How the report speaks: its sentences, numbers, money and days in English or Chinese."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo

from serving.codes import CODE_LISTS, Code, Language
from serving.decisions.policy import SUPPRESSIONS
from serving.manifest import Manifest

SYMBOLS: Mapping[str, str] = MappingProxyType({"USD": "$", "GBP": "£", "EUR": "€", "CNY": "¥", "JPY": "¥"})
LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType({"en": "English", "zh": "中文"})
CHANNELS: Mapping[str, str] = MappingProxyType(
    {
        "email": "电子邮件",
        "sms": "短信",
        "phone": "电话",
        "app": "应用",
        "mail": "信件",
        "social": "社交媒体",
        "store": "门店",
    }
)


@lru_cache
def sentences() -> Mapping[str, Mapping[str, str]]:
    """Every sentence by language and key."""
    content = (files("serving") / "templates" / "texts.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(content))


@dataclass(frozen=True, slots=True)
class Words:
    """Speech of one report."""

    language: Language
    manifest: Manifest

    def say(self, key: str, **numbers: str) -> str:
        """Return a sentence with its numbers."""
        return sentences()[self.language][key].format(**numbers)

    def label(self, name: str, code: str) -> str:
        """Short name of a code; the code itself when the list has none."""
        found = next((item for item in self._codes(name) if item.code == code), None)
        return found.label(self.language) if found else code

    def meaning(self, name: str, code: str) -> str:
        """Meaning of a code; empty when the list has none."""
        found = next((item for item in self._codes(name) if item.code == code), None)
        return found.meaning(self.language) if found else ""

    def _codes(self, name: str) -> tuple[Code, ...]:
        return self.manifest.actions if name == "action_id" else CODE_LISTS[name]

    def channel(self, code: str) -> str:
        """Name of a channel."""
        return CHANNELS.get(code, code) if self.language == "zh" else code.replace("_", " ")

    def rule(self, code: str) -> str:
        """Name of a rule that holds an action back."""
        found = next((rule for rule in SUPPRESSIONS if rule.code == code), None)
        return found.label(self.language) if found else code

    def grades(self) -> str:
        """What each data grade means."""
        grades = CODE_LISTS["data_grade"]
        pair, end = ("{}：{}", "；") if self.language == "zh" else ("{}: {}", "; ")
        return end.join(pair.format(grade.code, grade.meaning(self.language)) for grade in grades)

    def count(self, number: float) -> str:
        """A whole number with separators."""
        return f"{number:,.0f}"

    def percent(self, share: float) -> str:
        """A share, with a decimal where a whole number would say nothing."""
        if 0 < share < 0.001:
            return "<0.1%"
        return f"{share:.1%}" if 0 < share < 0.1 or 0.99 < share < 1 else f"{share:.0%}"

    def money(self, amount: float) -> str:
        """An amount with its currency, as short as it stays clear."""
        sign, symbol = ("−" if amount < 0 else ""), SYMBOLS.get(self.manifest.currency, f"{self.manifest.currency} ")
        return f"{sign}{symbol}{self._amount(abs(amount))}"

    def range_of(self, low: float, high: float) -> str:
        """Two amounts as the ends of a range."""
        return f"{self.money(low)} – {self.money(high)}"

    def with_range(self, amount: float, low: float, high: float) -> str:
        """An amount with the range that it will lie in."""
        opening, closing = ("（", "）") if self.language == "zh" else (" (", ")")
        return f"{self.money(amount)}{opening}{self.range_of(low, high)}{closing}"

    def brief_money(self, amount: float) -> str:
        """An amount for a headline: three or four digits once it reaches a million."""
        if self.language == "zh" or abs(amount) < 1e6:
            return self.money(amount)
        return self.money(amount / 1e9) + "B" if abs(amount) >= 1e9 else self.money(amount / 1e6) + "M"

    def _amount(self, amount: float) -> str:
        if self.language == "zh" and amount >= 1e5:
            return f"{amount / 1e8:,.2f}亿" if amount >= 1e8 else f"{amount / 1e4:,.1f}万"
        if amount >= 1e7:
            return f"{amount / 1e6:,.1f} million"
        return f"{amount:,.2f}" if 0 < amount < 100 else f"{amount:,.0f}"

    def day(self, value: date) -> str:
        """A day, spelled so that no country reads it wrongly."""
        if self.language == "zh":
            return f"{value.year}年{value.month}月{value.day}日"
        return f"{value.day} {value:%b %Y}"

    def short_day(self, value: date) -> str:
        """A day without its year."""
        return f"{value.month}/{value.day}" if self.language == "zh" else f"{value.day} {value:%b}"

    def moment(self, value: datetime) -> str:
        """An instant on the source's wall clock."""
        local = value.astimezone(ZoneInfo(self.manifest.timezone))
        return f"{self.short_day(local.date())} {local:%H:%M}"
