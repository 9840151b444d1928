"""The score file's columns: one table of facts for files, dictionary, store, API and report."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import pyarrow as pa

from serving.codes import Language


class Kind(StrEnum):
    """What a score column holds; decides its Parquet type and how CSV writes it."""

    ID = "id"
    CODE = "code"
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    FLAG = "flag"
    INSTANT = "instant"
    DAY = "day"


ARROW_TYPES: Mapping[Kind, pa.DataType] = MappingProxyType(
    {
        Kind.ID: pa.string(),
        Kind.CODE: pa.string(),
        Kind.TEXT: pa.string(),
        Kind.NUMBER: pa.float64(),
        Kind.INTEGER: pa.int64(),
        Kind.FLAG: pa.bool_(),
        Kind.INSTANT: pa.timestamp("us", tz="UTC"),
        Kind.DAY: pa.date32(),
    }
)
# Cells of these kinds may hold what somebody typed, so spreadsheets must not run them.
TEXT_KINDS = frozenset({Kind.ID, Kind.CODE, Kind.TEXT})


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One column of the score file.

    ``codes`` names its list in CODE_LISTS; ``personal`` marks data about a person, which erasure must reach.
    """

    name: str
    kind: Kind
    unit: str
    nullable: bool
    meaning_en: str
    meaning_zh: str
    codes: str | None = None
    personal: bool = True

    @property
    def arrow_type(self) -> pa.DataType:
        """Parquet type."""
        return ARROW_TYPES[self.kind]

    @property
    def is_text(self) -> bool:
        """Whether CSV must neutralise what a spreadsheet would take for a formula."""
        return self.kind in TEXT_KINDS

    def meaning(self, language: Language) -> str:
        """What the column says, in a language."""
        return self.meaning_zh if language == "zh" else self.meaning_en


# Columns that later work fills: null in every row and named in the manifest.
PENDING: tuple[str, ...] = ("need_type",)

_C, _N, _T, _F = Kind.CODE, Kind.NUMBER, Kind.TEXT, Kind.FLAG

SCORE_COLUMNS: tuple[ScoreColumn, ...] = (
    ScoreColumn(
        "customer_id", Kind.ID, "", False, "customer, as text; leading zeros kept", "客户编号（文本，保留前导零）"
    ),
    ScoreColumn(
        "as_of",
        Kind.INSTANT,
        "UTC instant",
        False,
        "the instant the row describes; only what happened and was known before it counts",
        "本行所描述的时刻；仅计入此前已发生且已知的记录",
        personal=False,
    ),
    ScoreColumn(
        "horizon_days",
        Kind.INTEGER,
        "days",
        False,
        "how far churn, expected orders and expected spend look ahead",
        "流失、预期订单与预期消费的预测天数",
        personal=False,
    ),
    ScoreColumn(
        "churn_probability",
        _N,
        "probability 0 to 1",
        False,
        "probability of no purchase within horizon_days after as_of",
        "as_of之后horizon_days天内不购买的概率",
    ),
    ScoreColumn(
        "churn_band",
        _C,
        "",
        False,
        "churn_probability in four bands with fixed bounds at 25, 50 and 75 %",
        "流失概率分档（固定界限：25%、50%、75%）",
        "churn_band",
    ),
    ScoreColumn(
        "money_at_risk",
        _N,
        "currency",
        False,
        "churn_probability × (expected CLV if the customer buys within the horizon − if not)",
        "流失概率×（期内购买时的预期CLV−不购买时的预期CLV）",
    ),
    ScoreColumn(
        "p_alive",
        _N,
        "probability 0 to 1",
        False,
        "probability of still being a customer (MBG/NBD); not the complement of churn_probability",
        "仍为客户的概率（MBG/NBD）；不等于1−流失概率",
    ),
    ScoreColumn(
        "expected_orders",
        _N,
        "orders (customer-days with a purchase)",
        False,
        "expected orders within horizon_days",
        "horizon_days天内的预期订单数（按购买日计）",
    ),
    ScoreColumn(
        "expected_orders_low",
        _N,
        "orders",
        False,
        "5th percentile of the orders that may really occur",
        "实际订单数的第5百分位",
    ),
    ScoreColumn(
        "expected_orders_high",
        _N,
        "orders",
        False,
        "95th percentile of the orders that may really occur",
        "实际订单数的第95百分位",
    ),
    ScoreColumn(
        "expected_order_value",
        _N,
        "currency",
        True,
        "expected mean value of an order (Gamma-Gamma)",
        "预期平均客单价（Gamma-Gamma）",
    ),
    ScoreColumn(
        "expected_spend",
        _N,
        "currency",
        True,
        "expected revenue within horizon_days; not orders times order value where coming orders differ from past ones",
        "horizon_days天内的预期消费额；若未来订单金额与以往不同，则不等于订单数乘以客单价",
    ),
    ScoreColumn(
        "clv",
        _N,
        "currency",
        True,
        "expected discounted value over the CLV horizon in the manifest, on clv_basis",
        "清单所述CLV期限内的预期折现价值（口径见clv_basis）",
    ),
    ScoreColumn(
        "clv_low", _N, "currency", True, "5th percentile of the value that may really occur", "实际价值的第5百分位"
    ),
    ScoreColumn(
        "clv_high", _N, "currency", True, "95th percentile of the value that may really occur", "实际价值的第95百分位"
    ),
    ScoreColumn(
        "clv_basis",
        _C,
        "",
        False,
        "whether clv and money_at_risk count margin or revenue",
        "CLV与风险金额的口径：毛利或收入",
        "clv_basis",
        personal=False,
    ),
    ScoreColumn("currency", _T, "ISO 4217", False, "currency of every amount", "金额币种", personal=False),
    ScoreColumn(
        "next_order_expected_on",
        Kind.DAY,
        "local date",
        True,
        "median date of the next order; empty when another order is less likely than not, or over 3,650 days away",
        "下次购买日期的中位数；再次购买概率低于一半或距今超过3650天时为空",
    ),
    ScoreColumn("value_tier", _C, "", False, "RFM value tier", "RFM价值层级", "value_tier"),
    ScoreColumn(
        "lifecycle_stage", _C, "", False, "stage of the customer's life cycle", "生命周期阶段", "lifecycle_stage"
    ),
    ScoreColumn(
        "contact_tier", _C, "", False, "tier that decides how often marketing may contact", "触达分层", "contact_tier"
    ),
    ScoreColumn("potential", _C, "", False, "interaction frequency in three levels", "互动频率三档", "potential"),
    ScoreColumn("need_type", _C, "", True, "what persuades the customer", "需求类型", "need_type"),
    ScoreColumn(
        "segment", _C, "", False, "the one marketing list the customer stands on", "客户所属的唯一营销名单", "segment"
    ),
    ScoreColumn(
        "reason_1_code", _C, "", True, "strongest reason behind the churn probability, as a code", "首要原因代码"
    ),
    ScoreColumn("reason_1", _T, "", True, "strongest reason in words", "首要原因"),
    ScoreColumn("reason_2_code", _C, "", True, "second reason, as a code", "第二原因代码"),
    ScoreColumn("reason_2", _T, "", True, "second reason in words", "第二原因"),
    ScoreColumn("reason_3_code", _C, "", True, "third reason, as a code", "第三原因代码"),
    ScoreColumn("reason_3", _T, "", True, "third reason in words", "第三原因"),
    ScoreColumn(
        "action_id", _C, "", False, "proposed next best action; do_nothing is one", "建议行动；do_nothing为不行动"
    ),
    ScoreColumn("action_channel", _C, "", True, "channel of the action", "行动渠道"),
    ScoreColumn("action_reason", _T, "", True, "why this action, in words", "行动理由"),
    ScoreColumn(
        "expected_incremental_value",
        _N,
        "currency",
        True,
        "expected value of the action over doing nothing, after its costs",
        "相对于不行动的预期增量价值（已扣成本）",
    ),
    ScoreColumn(
        "evidence",
        _C,
        "",
        True,
        "whether the action's effect was measured or is assumed",
        "效果依据：实测或假设",
        "evidence",
    ),
    ScoreColumn("human_task", _F, "true or false", False, "the action is a task for a person", "该行动需由专人完成"),
    ScoreColumn("due_by", Kind.INSTANT, "UTC instant", True, "deadline of the task for a person", "人工任务截止时刻"),
    ScoreColumn(
        "suppressed_by",
        _C,
        "",
        True,
        "rules that held back a better action, separated by semicolons",
        "使更优行动被抑制的规则（分号分隔）",
    ),
    ScoreColumn(
        "control_group",
        _F,
        "true or false",
        False,
        "held out from marketing so that its effect can be measured",
        "对照组：不作营销触达，用以衡量效果",
    ),
    ScoreColumn(
        "data_grade",
        _C,
        "",
        False,
        "how far the records support the scores: how many customers, how many who left, how much history",
        "数据充足程度等级：客户数、流失样本数与历史长度",
        "data_grade",
        personal=False,
    ),
    ScoreColumn(
        "model_versions",
        _T,
        "",
        False,
        "name=version of each model, separated by semicolons",
        "模型版本",
        personal=False,
    ),
    # Beyond the fixed columns: what ready lists and reports need.
    ScoreColumn("content_kind", _C, "", True, "value, emotion or call_to_action (7:2:1 mix)", "内容类型（7:2:1）"),
    ScoreColumn(
        "propensity",
        _N,
        "probability 0 to 1",
        True,
        "probability with which the policy chose this action",
        "策略选中该行动的概率",
    ),
    ScoreColumn("last_order_on", Kind.DAY, "local date", True, "day of the last order", "最近购买日期"),
    ScoreColumn("orders_365d", _N, "orders", True, "orders in the 365 days before as_of", "此前365天订单数"),
    ScoreColumn("spend_365d", _N, "currency", True, "net spend in the 365 days before as_of", "此前365天净消费额"),
    ScoreColumn(
        "consented_channels",
        _T,
        "",
        True,
        "channels with marketing consent at as_of, separated by semicolons",
        "as_of时已同意营销的渠道（分号分隔）",
    ),
    ScoreColumn(
        "churn_probability_low",
        _N,
        "probability 0 to 1",
        False,
        "of 100 customers with this churn_probability at least this share leaves, in 19 cases of 20",
        "每100名流失概率相同的客户中，20次有19次至少有该比例流失",
    ),
    ScoreColumn(
        "churn_probability_high",
        _N,
        "probability 0 to 1",
        False,
        "of 100 customers with this churn_probability at most this share leaves, in 19 cases of 20",
        "每100名流失概率相同的客户中，20次有19次至多有该比例流失",
    ),
)

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in SCORE_COLUMNS)
COLUMNS: Mapping[str, ScoreColumn] = MappingProxyType({column.name: column for column in SCORE_COLUMNS})
SCHEMA: pa.Schema = pa.schema([pa.field(c.name, c.arrow_type, c.nullable) for c in SCORE_COLUMNS])
