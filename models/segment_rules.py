"""The rules that name customers, as tables: first row that fits wins, bounds inclusive, meaning in both languages.

Facts the bounds speak of (the model computes them, see `models.segments.SegmentModel`):

``recency_score, frequency_score, monetary_score``   1 to 5 by learned fifths, 5 best
``worth``             mean of frequency and monetary score
``breadth_score``     fifths of categories bought
``year_score``        fifths of spend in the last 365 days
``silence``           days since the last order over the longest gap usual for the customer (above 1: overdue)
``repeats``           repeat purchase occasions
``settled``           age over the time that three usual gaps take (below 1: too young for a rhythm)
``few_orders``        1 where repeats are at most the learned median
``order_size``        mean order value over the learned median
``recommends``        referrals made, plus 1 for a latest NPS answer of 9 or 10
``interactions_90d``  interactions in 90 days
``touches_90d``       interactions and purchase occasions in 90 days
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType


class ValueTier(StrEnum):
    """What the customer's purchases are worth, and whether they go on (RFM)."""

    CHAMPIONS = "champions"
    LOYAL = "loyal"
    PROMISING = "promising"
    NEW = "new"
    DORMANT_HIGH_VALUE = "dormant_high_value"
    AT_RISK = "at_risk"
    HIBERNATING = "hibernating"
    LOST = "lost"


class LifecycleStage(StrEnum):
    """Where the relationship stands."""

    ACQUAINTANCE = "acquaintance"
    STABLE = "stable"
    ADVOCACY = "advocacy"
    AT_RISK = "at_risk"
    CHURNED = "churned"


class ContactTier(StrEnum):
    """How closely the customer is looked after."""

    HIGH_VALUE = "high_value"
    POTENTIAL = "potential"
    ORDINARY = "ordinary"


class Potential(StrEnum):
    """How often the customer is in touch."""

    HIGH = "high"
    MID = "mid"
    LOW = "low"


class Segment(StrEnum):
    """The one marketing list a customer stands on."""

    CHAMPIONS = "champions"
    LOYAL = "loyal"
    NEW = "new"
    POTENTIAL = "potential"
    OCCASIONAL = "occasional"
    AT_RISK = "at_risk"
    DORMANT_HIGH_VALUE = "dormant_high_value"
    WIN_BACK = "win_back"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Rule:
    """Customers whose facts lie ``within`` all bounds (inclusive) and whose codes are ``among`` those named."""

    code: StrEnum
    meaning_en: str
    meaning_zh: str
    within: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    among: Mapping[str, tuple[StrEnum, ...]] = field(default_factory=lambda: MappingProxyType({}))


# Above 1 the silence is longer than usual for this customer. Above 3, 72 % (Complete Journey, 28 days) and 66 %
# (Online Retail, 90 days) of customers bought nothing in the next window, against 11 % and 26 % below one half.
OVERDUE, DORMANT, GONE = 1.0, 2.0, 3.0
_ABOVE = 1e-9  # bounds are inclusive; this opens them
IN_RHYTHM, SILENT = (0.0, OVERDUE), (OVERDUE + _ABOVE, inf)
WEEKLY, MONTHLY = 90 / 7, 90 / 30

VALUE_TIER_RULES = (
    Rule(
        ValueTier.NEW,
        "First order not long ago, no second one yet",
        "刚完成首单，尚未复购",
        within={"repeats": (0, 0), "silence": IN_RHYTHM},
    ),
    Rule(
        ValueTier.CHAMPIONS,
        "Buy often, spend much and are in rhythm",
        "购买频繁、消费高且节奏正常",
        within={"worth": (4.5, 5), "recency_score": (3, 5), "silence": IN_RHYTHM},
    ),
    Rule(
        ValueTier.LOYAL,
        "Above the middle in frequency and spend, in rhythm",
        "频率与消费中等偏上且节奏正常",
        within={"worth": (3, 5), "silence": IN_RHYTHM},
    ),
    Rule(
        ValueTier.PROMISING,
        "Active with few or small orders so far",
        "仍然活跃，订单尚少或金额偏小",
        within={"silence": IN_RHYTHM},
    ),
    Rule(
        ValueTier.DORMANT_HIGH_VALUE,
        "Among the top two fifths by spend, silent for more than twice the usual",
        "消费额居前四成，沉默超过惯常间隔两倍",
        within={"monetary_score": (4, 5), "silence": (DORMANT + _ABOVE, inf)},
    ),
    Rule(
        ValueTier.AT_RISK,
        "Of middling value or more, silent for longer than usual",
        "价值中等及以上，沉默已超过惯常间隔",
        within={"worth": (2.5, 5), "silence": (SILENT[0], GONE)},
    ),
    Rule(
        ValueTier.LOST,
        "Of small value and silent for more than three times the usual",
        "价值较低，沉默超过惯常间隔三倍",
        within={"worth": (1, 2), "silence": (GONE + _ABOVE, inf)},
    ),
    Rule(
        ValueTier.HIBERNATING,
        "Silent for longer than usual: of small value, or of middling value and long gone",
        "沉默超过惯常间隔：价值较低，或价值中等但沉默已久",
    ),
)

LIFECYCLE_RULES = (
    Rule(
        LifecycleStage.CHURNED,
        "Silent for more than three times the longest usual gap",
        "沉默超过惯常最长间隔的三倍",
        within={"silence": (GONE + _ABOVE, inf)},
    ),
    Rule(
        LifecycleStage.AT_RISK,
        "Silent for longer than the longest usual gap",
        "沉默超过惯常最长间隔",
        within={"silence": SILENT},
    ),
    Rule(
        LifecycleStage.ADVOCACY,
        "In rhythm and recommends the business to others",
        "节奏正常并向他人推荐",
        within={"recommends": (1, inf)},
    ),
    Rule(
        LifecycleStage.ADVOCACY,
        "In rhythm, among the top fifth both in frequency and in breadth of purchase",
        "节奏正常，购买频率与品类广度均居前五分之一",
        within={"frequency_score": (5, 5), "breadth_score": (5, 5)},
    ),
    Rule(
        LifecycleStage.ADVOCACY,
        "In rhythm, buys often and is in touch every week",
        "节奏正常，购买频繁且每周互动",
        within={"frequency_score": (4, 5), "interactions_90d": (WEEKLY, inf)},
    ),
    Rule(
        LifecycleStage.ACQUAINTANCE,
        "At most one repeat purchase so far",
        "至多复购一次",
        within={"repeats": (0, 1)},
    ),
    Rule(
        LifecycleStage.ACQUAINTANCE,
        "Customer for less time than three usual gaps take",
        "成为顾客的时间短于三个惯常间隔",
        within={"settled": (0, 1 - _ABOVE)},
    ),
    Rule(LifecycleStage.STABLE, "Has a rhythm and keeps it", "已有稳定的购买节奏"),
)

CONTACT_TIER_RULES = (
    Rule(
        ContactTier.HIGH_VALUE,
        "Top fifth by spend of the year, buying often",
        "近一年消费居前五分之一且购买频繁",
        within={"year_score": (5, 5), "frequency_score": (4, 5)},
    ),
    Rule(
        ContactTier.HIGH_VALUE,
        "Top fifth by spend of the year, buying broadly",
        "近一年消费居前五分之一且品类广",
        within={"year_score": (5, 5), "breadth_score": (4, 5)},
    ),
    Rule(
        ContactTier.POTENTIAL,
        "Few orders, of more than the usual value",
        "订单少但客单价高于中位数",
        within={"few_orders": (1, 1), "order_size": (1 + _ABOVE, inf)},
    ),
    Rule(ContactTier.ORDINARY, "Everyone else", "其他客户"),
)

POTENTIAL_RULES = (
    Rule(Potential.HIGH, "In touch every week", "每周互动", within={"touches_90d": (WEEKLY, inf)}),
    Rule(Potential.MID, "In touch every month", "每月互动", within={"touches_90d": (MONTHLY, inf)}),
    Rule(Potential.LOW, "In touch once a quarter or less", "每季度互动或更少"),
)

SEGMENT_RULES = (
    Rule(
        Segment.DORMANT_HIGH_VALUE,
        "High value gone silent: wake up with a personal reason",
        "高价值沉睡客户：以专属理由唤醒",
        among={"value_tier": (ValueTier.DORMANT_HIGH_VALUE,)},
    ),
    Rule(
        Segment.WIN_BACK,
        "Gone, and worth a try to win back",
        "已流失但值得召回",
        within={"worth": (2.5, 5)},
        among={"lifecycle_stage": (LifecycleStage.CHURNED,)},
    ),
    Rule(
        Segment.LOST,
        "Gone, with too little value to pursue",
        "已流失且价值有限",
        among={"lifecycle_stage": (LifecycleStage.CHURNED,)},
    ),
    Rule(
        Segment.AT_RISK,
        "Overdue against their own rhythm: act now",
        "已超出自身购买节奏：应立即行动",
        among={"lifecycle_stage": (LifecycleStage.AT_RISK,)},
    ),
    Rule(
        Segment.CHAMPIONS,
        "The best customers: keep, thank, ask to recommend",
        "最佳客户：维系、致谢、邀请推荐",
        among={"value_tier": (ValueTier.CHAMPIONS,)},
    ),
    Rule(
        Segment.NEW,
        "First order just made: welcome and guide",
        "首单新客：欢迎与引导",
        among={"value_tier": (ValueTier.NEW,)},
    ),
    Rule(
        Segment.POTENTIAL,
        "Few but valuable orders: give occasions to come back",
        "订单少而价值高：提供复购场景",
        among={"contact_tier": (ContactTier.POTENTIAL,)},
    ),
    Rule(
        Segment.LOYAL,
        "Regular customers of good value: widen what they buy",
        "价值良好的常客：拓展品类",
        among={"value_tier": (ValueTier.LOYAL,)},
    ),
    Rule(
        Segment.OCCASIONAL,
        "Active, with small or few orders: automated, light contact",
        "活跃但订单少或小：自动化轻触达",
    ),
)

RULES: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "value_tier": VALUE_TIER_RULES,
        "lifecycle_stage": LIFECYCLE_RULES,
        "contact_tier": CONTACT_TIER_RULES,
        "potential": POTENTIAL_RULES,
        "segment": SEGMENT_RULES,
    }
)
