"""What customers are expected to bring together: the portfolio and its groups, with the range each sum will lie in.

A worker that scores some customers hands back how far each may be off, so the sums need one pass over one
row per customer, wherever those rows were computed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from models.outlook import Common
from models.totals import total_by
from serving.codes import CODE_LISTS, Code, Language
from serving.columns import Kind, ScoreColumn

PORTFOLIO = "portfolio"
EVERYBODY = Code("all", "Everybody", "全部客户")
GROUPINGS = ("value_tier", "lifecycle_stage", "segment")
_DECIMALS = 2


@dataclass(frozen=True, slots=True)
class Total:
    """One group's sums; ``low`` and ``high`` are the 5th and 95th percentile of what may really come."""

    grouping: str
    code: str
    customers: int
    expected_orders: float
    expected_orders_low: float
    expected_orders_high: float
    expected_spend: float
    expected_spend_low: float
    expected_spend_high: float
    clv: float
    clv_low: float
    clv_high: float

    def label(self, language: Language) -> str:
        """Name of the group, in a language."""
        return next(code.label(language) for code in _codes(self.grouping) if code.code == self.code)


def totals_of(scored: pd.DataFrame, commons: Mapping[str, Common]) -> tuple[Total, ...]:
    """Return the portfolio's sums, then those of every group that has customers, in the order of the code lists.

    ``scored`` holds score columns and `models.totals.DEVIATIONS`; ``commons`` says how far each amount may be off for
    all at once.
    """
    everybody = scored.assign(**{PORTFOLIO: EVERYBODY.code})
    return tuple(total for name in (PORTFOLIO, *GROUPINGS) for total in _grouped(everybody, name, commons))


def _grouped(scored: pd.DataFrame, name: str, commons: Mapping[str, Common]) -> Iterator[Total]:
    sums = total_by(scored[name], scored, commons).round(_DECIMALS)
    found = dict(zip(sums.index, sums.to_numpy().tolist(), strict=True))
    for code in _codes(name):
        if code.code in found:
            customers, *amounts = found[code.code]
            yield Total(name, code.code, int(customers), *amounts)


def _codes(grouping: str) -> tuple[Code, ...]:
    return (EVERYBODY,) if grouping == PORTFOLIO else CODE_LISTS[grouping]


def _sum(name: str, unit: str, meaning_en: str, meaning_zh: str) -> tuple[ScoreColumn, ...]:
    low, high = "5th percentile of the sum that may really come", "95th percentile of the sum that may really come"
    facts = (
        (name, meaning_en, meaning_zh),
        (f"{name}_low", low, "实际总和的第5百分位"),
        (f"{name}_high", high, "实际总和的第95百分位"),
    )
    return tuple(ScoreColumn(column, Kind.NUMBER, unit, False, en, zh, personal=False) for column, en, zh in facts)


def _fact(name: str, kind: Kind, unit: str, meaning_en: str, meaning_zh: str) -> ScoreColumn:
    return ScoreColumn(name, kind, unit, False, meaning_en, meaning_zh, personal=False)


TOTAL_COLUMNS: tuple[ScoreColumn, ...] = (
    _fact(
        "grouping",
        Kind.CODE,
        "",
        "what the customers are grouped by; portfolio is everybody",
        "分组依据；portfolio为全部客户",
    ),
    _fact("code", Kind.CODE, "", "the group: a code of that column, or all", "分组代码，或all（全部）"),
    _fact("label", Kind.TEXT, "", "the group's name", "分组名称"),
    _fact("customers", Kind.INTEGER, "customers", "customers in the group", "该组客户数"),
    *_sum(
        "expected_orders",
        "orders",
        "orders that the group is expected to place within horizon_days",
        "该组在horizon_days天内的预期订单总数",
    ),
    *_sum(
        "expected_spend",
        "currency",
        "revenue that the group is expected to bring within horizon_days",
        "该组在horizon_days天内的预期消费总额",
    ),
    *_sum(
        "clv",
        "currency",
        "discounted value that the group is expected to have over clv_horizon_days, on clv_basis",
        "该组在clv_horizon_days天内的预期折现价值总和（口径见clv_basis）",
    ),
    _fact(
        "horizon_days", Kind.INTEGER, "days", "how far expected orders and spend look ahead", "预期订单与消费的预测天数"
    ),
    _fact("clv_horizon_days", Kind.INTEGER, "days", "how far clv looks ahead", "CLV的预测天数"),
    _fact("clv_basis", Kind.CODE, "", "whether clv counts margin or revenue", "CLV的口径：毛利或收入"),
    _fact("currency", Kind.TEXT, "ISO 4217", "currency of every amount", "金额币种"),
)
