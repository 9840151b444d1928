"""The code lists of the score file: stable ASCII codes with a label and a meaning in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.early_warning import MAY_LEAVE
from models.segment_rules import RULES

Language = Literal["en", "zh"]
# What an API key may be for.
Scope = Literal["score", "events", "admin", "erase"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


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


def _ruled(column: str, *labels: tuple[str, str, str]) -> tuple[Code, ...]:
    """Codes that the segment rules give out, with the rules' own words for who gets them."""
    return tuple(
        Code(
            code,
            label_en,
            label_zh,
            "; or: ".join(rule.meaning_en for rule in RULES[column] if rule.code == code),
            "；或：".join(rule.meaning_zh for rule in RULES[column] if rule.code == code),
        )
        for code, label_en, label_zh in labels
    )


# Absolute bounds on a calibrated probability: a band means the same on every day and in every business. Relative
# bands would call somebody "critical" in a base where nobody leaves. Lower bound included, upper excluded.
CHURN_BANDS: Mapping[str, float] = MappingProxyType({"low": 0.0, "medium": MAY_LEAVE, "high": 0.5, "critical": 0.75})

CODE_LISTS: Mapping[str, tuple[Code, ...]] = MappingProxyType(
    {
        "churn_band": (
            Code("low", "Low", "低", "churn probability below 25 %", "流失概率低于25%"),
            Code("medium", "Medium", "中", "churn probability from 25 % to below 50 %", "流失概率25%至50%（不含）"),
            Code("high", "High", "高", "churn probability from 50 % to below 75 %", "流失概率50%至75%（不含）"),
            Code("critical", "Critical", "极高", "churn probability of 75 % or more", "流失概率75%及以上"),
        ),
        "value_tier": _ruled(
            "value_tier",
            ("champions", "Champions", "冠军客户"),
            ("loyal", "Loyal", "忠诚客户"),
            ("promising", "Promising", "潜力客户"),
            ("new", "New", "新客户"),
            ("dormant_high_value", "Dormant high value", "高价值沉睡客户"),
            ("at_risk", "At risk", "流失风险客户"),
            ("hibernating", "Hibernating", "休眠客户"),
            ("lost", "Lost", "已流失客户"),
        ),
        "lifecycle_stage": _ruled(
            "lifecycle_stage",
            ("acquaintance", "Acquaintance", "初识"),
            ("stable", "Stable", "稳定"),
            ("advocacy", "Advocacy", "升华"),
            ("at_risk", "At risk", "流失风险"),
            ("churned", "Churned", "流失"),
        ),
        "contact_tier": _ruled(
            "contact_tier",
            ("high_value", "High value", "高价值"),
            ("potential", "Potential", "潜力"),
            ("ordinary", "Ordinary", "普通"),
        ),
        "potential": _ruled(
            "potential",
            ("high", "High", "高"),
            ("mid", "Mid", "中"),
            ("low", "Low", "低"),
        ),
        "segment": _ruled(
            "segment",
            ("champions", "Champions", "冠军客户"),
            ("loyal", "Loyal", "忠诚客户"),
            ("new", "New", "新客户"),
            ("potential", "Potential", "潜力客户"),
            ("occasional", "Occasional", "偶购客户"),
            ("at_risk", "At risk", "流失风险客户"),
            ("dormant_high_value", "Dormant high value", "高价值沉睡客户"),
            ("win_back", "Win back", "待召回"),
            ("lost", "Lost", "已流失"),
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
            Code(
                "A",
                "A",
                "A",
                "ample records: many customers, many who left, a whole year seen",
                "数据充足：客户与流失样本多，历史满一年",
            ),
            Code("B", "B", "B", "enough records to tell customers apart", "数据够用，足以区分客户"),
            Code("C", "C", "C", "thin records: small differences mean little", "数据偏少：细微差别意义不大"),
            Code("D", "D", "D", "too few records: a rough guide only", "数据不足：仅供粗略参考"),
        ),
    }
)


def churn_band(probability: npt.NDArray[np.float64]) -> pd.Series:
    """Return the band of each churn probability; bounds in CHURN_BANDS, the lower one included."""
    bounds = np.array(list(CHURN_BANDS.values())[1:])
    names = np.array(list(CHURN_BANDS), dtype=object)
    return pd.Series(names[np.searchsorted(bounds, probability, side="right")], dtype="str")
