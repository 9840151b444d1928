"""The code lists of the score file: stable ASCII codes with a label and a meaning in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Code:
    """One value of a coded column: stable ASCII code, short label and meaning in both languages."""

    code: str
    label_en: str
    label_zh: str
    meaning_en: str = ""
    meaning_zh: str = ""

    def label(self, language: Language) -> str:
        """Short name in a language."""
        return self.label_zh if language == "zh" else self.label_en

    def meaning(self, language: Language) -> str:
        """One sentence in a language."""
        return self.meaning_zh if language == "zh" else self.meaning_en


# Absolute bounds on a calibrated probability: a band means the same on every day and in every business. Relative
# bands would call somebody "critical" in a base where nobody leaves. Lower bound included, upper excluded.
CHURN_BANDS: Mapping[str, float] = MappingProxyType({"low": 0.0, "medium": 0.25, "high": 0.5, "critical": 0.75})

CODE_LISTS: Mapping[str, tuple[Code, ...]] = MappingProxyType(
    {
        "churn_band": (
            Code("low", "Low", "低", "churn probability below 25 %", "流失概率低于25%"),
            Code("medium", "Medium", "中", "churn probability from 25 % to below 50 %", "流失概率25%至50%（不含）"),
            Code("high", "High", "高", "churn probability from 50 % to below 75 %", "流失概率50%至75%（不含）"),
            Code("critical", "Critical", "极高", "churn probability of 75 % or more", "流失概率75%及以上"),
        ),
        "value_tier": (
            Code(
                "champions",
                "Champions",
                "冠军客户",
                "buy recently, often and for much",
                "近期购买、频率高、金额大",
            ),
            Code("loyal", "Loyal", "忠诚客户", "buy often and are still active", "购买频繁且仍然活跃"),
            Code(
                "promising",
                "Promising",
                "潜力客户",
                "recent, few orders so far, room to grow",
                "近期购买、次数不多、有成长空间",
            ),
            Code("new", "New", "新客户", "recent first order", "最近首次购买"),
            Code(
                "dormant_high_value",
                "Dormant high value",
                "高价值沉睡客户",
                "spent much, now silent for unusually long",
                "曾高额消费，如今异常沉默",
            ),
            Code("at_risk", "At risk", "流失风险客户", "used to buy more often than now", "购买频率明显下降"),
            Code(
                "hibernating", "Hibernating", "休眠客户", "silent for long, small past value", "长期沉默且历史价值较低"
            ),
            Code("lost", "Lost", "已流失客户", "longest silent, lowest value", "沉默最久、价值最低"),
        ),
        "lifecycle_stage": (
            Code(
                "acquaintance",
                "Acquaintance",
                "初识",
                "first orders; has yet to see the value",
                "首次或最初几次购买，价值尚待验证",
            ),
            Code("stable", "Stable", "稳定", "buys in a settled rhythm", "购买节奏稳定"),
            Code("advocacy", "Advocacy", "升华", "buys often, engages and recommends", "购买频繁、积极互动并愿意推荐"),
            Code("at_risk", "At risk", "流失风险", "silent beyond the own rhythm", "沉默时间超出自身购买节奏"),
            Code("churned", "Churned", "流失", "silent far beyond the own rhythm", "沉默时间远超自身购买节奏"),
        ),
        "contact_tier": (
            Code(
                "high_value",
                "High value",
                "高价值",
                "personal contact at least once a quarter, answered at once",
                "每季度至少一次专人联系，实时响应",
            ),
            Code(
                "potential",
                "Potential",
                "潜力",
                "few orders of high value; at most one contact a month",
                "订单少但客单价高，每月至多触达一次",
            ),
            Code("ordinary", "Ordinary", "普通", "two to three contacts a quarter", "每季度触达二至三次"),
        ),
        "potential": (
            Code("high", "High", "高", "interacts about weekly", "约每周互动"),
            Code("mid", "Mid", "中", "interacts about monthly", "约每月互动"),
            Code("low", "Low", "低", "interacts about quarterly or less", "约每季度或更少互动"),
        ),
        "need_type": (
            Code("rational", "Rational", "理性决策型", "compares and asks for proof", "重比较、重证据"),
            Code("emotional", "Emotional", "情感决策型", "moved by care, brand and stories", "重关怀、品牌与故事"),
            Code("social", "Social influencer", "社交影响型", "recommends and shares", "乐于推荐与分享"),
        ),
        "clv_basis": (
            Code("margin", "Margin", "毛利", "values are contribution margin", "价值按毛利计"),
            Code(
                "revenue",
                "Revenue",
                "收入",
                "values are revenue: the source gives no margin",
                "价值按收入计：数据源未提供毛利率",
            ),
        ),
        "evidence": (
            Code(
                "measured",
                "Measured",
                "实测",
                "the effect was measured on this business's own randomised contacts",
                "效果来自本企业随机对照实测",
            ),
            Code(
                "assumed",
                "Assumed",
                "假设",
                "the effect is the playbook's assumption, not yet measured here",
                "效果为策略手册中的假设，尚未在本企业实测",
            ),
        ),
        "data_grade": (
            Code("A", "A", "A", "ample records; clearly better than the simple rule", "数据充足，明显优于简单规则"),
            Code("B", "B", "B", "enough records; better than the simple rule", "数据够用，优于简单规则"),
            Code(
                "C",
                "C",
                "C",
                "thin records; not distinguishable from the simple rule",
                "数据偏少，与简单规则无显著差别",
            ),
            Code("D", "D", "D", "too few records; treat as a rough guide", "数据不足，仅供粗略参考"),
        ),
    }
)


def churn_band(probability: npt.NDArray[np.float64]) -> pd.Series:
    """Return the band of each churn probability; bounds in CHURN_BANDS, the lower one included."""
    bounds = np.array(list(CHURN_BANDS.values())[1:])
    names = np.array(list(CHURN_BANDS), dtype=object)
    return pd.Series(names[np.searchsorted(bounds, probability, side="right")], dtype="str")
