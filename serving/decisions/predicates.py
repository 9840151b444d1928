"""What a playbook may ask about a customer: one table of named facts, in the marketer's words.

A number is asked for with ``at_least`` and ``at_most`` (both included), a code with a list of codes, a flag with
true or false. An unknown value satisfies no condition on it, save where the table says what unknown means.
The same facts fill the ``{placeholders}`` of reason texts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.records import AsOf
from models.segments import NPS_PROMOTER
from perennial.errors import PlaybookError
from serving.codes import CODE_LISTS, Language

Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]


class Unit(StrEnum):
    """What a fact is counted in; decides which condition it takes and how a text shows it."""

    DAYS = "days"
    ORDERS = "orders"
    COUNT = "count"
    RATIO = "ratio"
    SHARE = "share"
    MONEY = "money"
    CODE = "code"
    FLAG = "flag"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known of every customer. ``predicted`` facts are model output, not the customer's own record."""

    name: str
    unit: Unit
    columns: tuple[str, ...]
    meaning_en: str
    meaning_zh: str
    compute: Callable[[pd.DataFrame, AsOf], Values] | None = None
    predicted: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes that may be asked for."""
        return tuple(code.code for code in CODE_LISTS[self.name])

    def values(self, frame: pd.DataFrame, as_of: AsOf) -> Values:
        """Return the fact for every customer of ``frame``, shape (n_customers,)."""
        missing = [column for column in self.columns if column not in frame.columns]
        if missing:
            raise PlaybookError(f"fact {self.name!r} needs column {', '.join(missing)}, which these scores lack")
        if self.compute is not None:
            return self.compute(frame, as_of)
        return _column(frame, self.columns[0], numeric=self.unit not in {Unit.CODE, Unit.TEXT})


@dataclass(frozen=True, slots=True)
class Condition:
    """A fact with the values that satisfy it: a closed range, a set of codes, or one flag."""

    fact: Fact
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()
    expected: bool | None = None

    def holds(self, values: Values) -> Flags:
        """Return which customers satisfy it."""
        if self.one_of:
            return np.isin(values, np.array(self.one_of, dtype=object))
        if self.expected is not None:
            return np.asarray(values == self.expected, dtype=bool)
        held = ~np.isnan(values)
        if self.at_least is not None:
            held &= values >= self.at_least
        if self.at_most is not None:
            held &= values <= self.at_most
        return np.asarray(held, dtype=bool)

    def __str__(self) -> str:
        name = self.fact.name
        if self.one_of:
            return f"{name} is {' or '.join(self.one_of)}"
        if self.expected is not None:
            return name if self.expected else f"not {name}"
        limits = (("≥", self.at_least), ("≤", self.at_most))
        return f"{name} {' and '.join(f'{sign} {limit:g}' for sign, limit in limits if limit is not None)}"


def _column(frame: pd.DataFrame, name: str, *, numeric: bool = True) -> Values:
    if numeric:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    column: pd.Series[Any] = frame[name].astype(object)
    return np.asarray(column.where(column.notna(), ""), dtype=object)


def _orders(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    return _column(frame, "frequency") + 1


def _days_silent(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    return np.fmin(_column(frame, "days_since_last_order"), _column(frame, "days_since_last_interaction"))


def _days_since_contact(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    days = _column(frame, "days_since_last_offer")
    return np.where(np.isnan(days), np.inf, days)


def _never_rated(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    return np.isnan(_column(frame, "satisfaction_last")) & np.isnan(_column(frame, "nps_last"))


def _would_recommend(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    # 4 and 5 are the upper two of five satisfaction marks.
    happy = (_column(frame, "nps_last") >= NPS_PROMOTER) | (_column(frame, "satisfaction_last") >= 4)
    return np.asarray(happy | (_column(frame, "referrals_total") >= 1))


def _category_known(frame: pd.DataFrame, _as_of: AsOf) -> Values:
    return np.asarray(_column(frame, "favourite_category", numeric=False) != "")


def _days_to_birthday(frame: pd.DataFrame, as_of: AsOf) -> Values:
    """Whole days from today to the next birthday, in the customer's zone; 29 February falls on 1 March."""
    today = _local_days(frame["timezone"], as_of)
    birthday = pd.to_datetime(frame["birthday"])
    known = birthday.notna().to_numpy()
    month_day = birthday.fillna(pd.Timestamp("2000-01-01")).to_numpy().astype("datetime64[D]")
    month = month_day.astype("datetime64[M]")
    day = (month_day - month).astype(np.int64)
    months_in = month.astype(np.int64) % 12
    this_year = _in_year(today.astype("datetime64[Y]"), months_in, day)
    next_year = _in_year(today.astype("datetime64[Y]") + 1, months_in, day)
    days = np.where(this_year >= today, this_year - today, next_year - today).astype(np.float64)
    return np.where(known, days, np.nan)


def _in_year(year: Values, month: Values, day: Values) -> Values:
    return (year.astype("datetime64[M]") + month).astype("datetime64[D]") + day


def _local_days(timezones: "pd.Series[str]", as_of: AsOf) -> Values:
    """Return each customer's calendar day at ``as_of``; the source's day where the zone is unknown."""
    days = {name: _local_day(name, as_of) for name in timezones.dropna().unique()}
    return np.array([days.get(name, as_of.day) for name in timezones], dtype="datetime64[D]")


def _local_day(timezone: str, as_of: AsOf) -> date:
    try:
        return as_of.instant.astimezone(ZoneInfo(timezone)).date()
    except (ZoneInfoNotFoundError, ValueError):
        return as_of.day


_D, _O, _N, _R, _S, _M, _C, _F = (
    Unit.DAYS,
    Unit.ORDERS,
    Unit.COUNT,
    Unit.RATIO,
    Unit.SHARE,
    Unit.MONEY,
    Unit.CODE,
    Unit.FLAG,
)

_ALL = (
    Fact("orders", _O, ("frequency",), "purchase days so far", "累计购买天数", _orders),
    Fact("days_since_first_order", _D, ("tenure_days",), "days since the first order", "距首次购买天数"),
    Fact("days_since_last_order", _D, ("days_since_last_order",), "days since the last order", "距最近购买天数"),
    Fact(
        "days_silent",
        _D,
        ("days_since_last_order", "days_since_last_interaction"),
        "days since the last order or interaction",
        "距最近购买或互动天数",
        _days_silent,
    ),
    Fact(
        "days_since_last_contact",
        _D,
        ("days_since_last_offer",),
        "days since marketing last reached out; never counts as forever",
        "距上次营销触达天数；从未触达视为无限久",
        _days_since_contact,
    ),
    Fact("usual_gap_days", _D, ("gap_median_days",), "usual days between orders (median)", "惯常购买间隔（中位数）"),
    Fact("gap_irregularity", _R, ("gap_cv",), "how irregular the gaps are; 0 is clockwork", "购买间隔的不规则程度"),
    Fact(
        "overdue_ratio",
        _R,
        ("overdue_ratio",),
        "days since the last order over the usual gap; above 1 is overdue",
        "距最近购买天数与惯常间隔之比；大于1为逾期",
    ),
    Fact("orders_90d", _O, ("orders_90d",), "orders in the last 90 days", "近90天订单数"),
    Fact("spend_365d", _M, ("spend_365d",), "net spend in the last 365 days", "近365天净消费额"),
    Fact("last_order_value", _M, ("order_value_last",), "value of the last order", "最近一单金额"),
    Fact(
        "last_order_ratio",
        _R,
        ("order_value_last_ratio",),
        "value of the last order over the usual value",
        "最近一单金额与平时客单价之比",
    ),
    Fact("categories", _N, ("category_breadth",), "categories bought from", "购买过的品类数"),
    Fact("open_complaints", _N, ("complaints_open",), "complaints not yet closed", "未结投诉数"),
    Fact("satisfaction", _N, ("satisfaction_last",), "last satisfaction mark, 1 to 5", "最近满意度评分（1至5）"),
    Fact("nps", _N, ("nps_last",), "last answer to 'would you recommend us', 0 to 10", "最近推荐意愿评分（0至10）"),
    Fact("referrals", _N, ("referrals_total",), "customers recommended so far", "累计推荐人数"),
    Fact(
        "days_since_last_referral",
        _D,
        ("days_since_last_referral",),
        "days since the customer last recommended us",
        "距最近一次推荐他人天数",
    ),
    Fact(
        "days_since_last_interaction",
        _D,
        ("days_since_last_interaction",),
        "days since the last visit, click or call",
        "距最近互动天数",
    ),
    Fact(
        "days_to_birthday",
        _D,
        ("birthday", "timezone"),
        "days until the birthday; 0 is today",
        "距生日天数；0为当天",
        _days_to_birthday,
    ),
    Fact(
        "churn_probability",
        _S,
        ("churn_probability",),
        "probability of no purchase within the horizon",
        "预测期内不购买的概率",
        predicted=True,
    ),
    Fact(
        "money_at_risk",
        _M,
        ("money_at_risk",),
        "value lost if the customer leaves × probability",
        "流失风险金额",
        predicted=True,
    ),
    Fact(
        "expected_spend", _M, ("expected_spend",), "expected spend in the horizon", "预测期内预期消费", predicted=True
    ),
    Fact("clv", _M, ("clv",), "customer lifetime value", "客户终身价值", predicted=True),
    Fact("value_tier", _C, ("value_tier",), "RFM value tier", "RFM价值层级"),
    Fact("lifecycle_stage", _C, ("lifecycle_stage",), "stage of the life cycle", "生命周期阶段"),
    Fact("contact_tier", _C, ("contact_tier",), "contact tier", "触达分层"),
    Fact("potential", _C, ("potential",), "how often the customer interacts", "互动潜力"),
    Fact(
        "never_rated",
        _F,
        ("satisfaction_last", "nps_last"),
        "never gave a mark, asked or not",
        "从未给出评分（无论是否受邀）",
        _never_rated,
    ),
    Fact(
        "would_recommend",
        _F,
        ("satisfaction_last", "nps_last", "referrals_total"),
        "is happy (satisfaction 4 or 5, or NPS 9 or 10) or has recommended others",
        "满意（满意度4至5或NPS 9至10）或曾推荐他人",
        _would_recommend,
    ),
    Fact(
        "category_known",
        _F,
        ("favourite_category",),
        "the favourite category is known",
        "已知最常购品类",
        _category_known,
    ),
    Fact("favourite_category", Unit.TEXT, ("favourite_category",), "category most spent on", "消费最多的品类"),
)
FACTS: Mapping[str, Fact] = MappingProxyType({fact.name: fact for fact in _ALL})


def shown(fact: Fact, value: Any, language: Language, currency: str) -> str:
    """Write one value of a fact in words; a dash where it is unknown."""
    if isinstance(value, str):
        return value or "–"
    number = float(value)
    if not np.isfinite(number):
        return "–"
    return _WORDS[language][fact.unit](number, currency).strip()


def _days_en(number: float, _currency: str) -> str:
    return f"{number:,.0f} day{'' if round(number) == 1 else 's'}"


def _orders_en(number: float, _currency: str) -> str:
    return f"{number:,.0f} order{'' if round(number) == 1 else 's'}"


def _plain(number: float, _currency: str) -> str:
    return f"{number:,.0f}"


def _share(number: float, _currency: str) -> str:
    return f"{number:.0%}"


def _money(number: float, currency: str) -> str:
    return f"{number:,.0f} {currency}"


_WORDS: Mapping[Language, Mapping[Unit, Callable[[float, str], str]]] = MappingProxyType(
    {
        "en": {
            Unit.DAYS: _days_en,
            Unit.ORDERS: _orders_en,
            Unit.COUNT: _plain,
            Unit.RATIO: lambda number, _: f"{number:.1f} times",
            Unit.SHARE: _share,
            Unit.MONEY: _money,
        },
        "zh": {
            Unit.DAYS: lambda number, _: f"{number:,.0f}天",
            Unit.ORDERS: lambda number, _: f"{number:,.0f}次购买",
            Unit.COUNT: _plain,
            Unit.RATIO: lambda number, _: f"{number:.1f}倍",
            Unit.SHARE: _share,
            Unit.MONEY: _money,
        },
    }
)
