"""Ready lists: who belongs on which, in what order, with the columns a marketer works from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from models.early_warning import warned_of
from serving.codes import Language
from serving.manifest import Manifest

Choice = Callable[[pd.DataFrame], pd.Series]


# From the score file, in this order; `action` and `may_be_contacted` are added.
LIST_COLUMNS: tuple[str, ...] = (
    "customer_id",
    "may_be_contacted",
    "consented_channels",
    "churn_probability",
    "churn_band",
    "money_at_risk",
    "clv",
    "currency",
    "value_tier",
    "lifecycle_stage",
    "contact_tier",
    "reason_1",
    "reason_2",
    "action_id",
    "action",
    "action_channel",
    "action_reason",
    "expected_incremental_value",
    "evidence",
    "human_task",
    "due_by",
    "last_order_on",
    "orders_365d",
    "spend_365d",
)


@dataclass(frozen=True, slots=True)
class ReadyList:
    """One list: a choice of customers and the column it is ordered by, largest first."""

    name: str
    title_en: str
    title_zh: str
    meaning_en: str
    meaning_zh: str
    chosen: Choice
    ordered_by: str
    columns: tuple[str, ...] = LIST_COLUMNS

    def title(self, language: Language) -> str:
        """Name in a language."""
        return self.title_zh if language == "zh" else self.title_en

    def meaning(self, language: Language) -> str:
        """Who is on it, in a language."""
        return self.meaning_zh if language == "zh" else self.meaning_en


def _acted_on(scores: pd.DataFrame) -> pd.Series:
    return (scores["action_id"] != "do_nothing") & (scores["expected_incremental_value"] > 0)


def early_warning(scores: pd.DataFrame) -> pd.Series:
    """Customers who may leave and keep their own rhythm still: of those overdue everybody knows without a warning."""
    warned = warned_of(scores["churn_probability"].to_numpy(), scores["lifecycle_stage"])
    return pd.Series(warned, index=scores.index)


def contactable(scores: pd.DataFrame) -> pd.Series:
    """Whether marketing may reach the customer now: some channel is consented to, and not held out as control."""
    return (scores["consented_channels"].fillna("") != "") & ~scores["control_group"]


EARLY_WARNING = "early_warning"

READY_LISTS: tuple[ReadyList, ...] = (
    ReadyList(
        EARLY_WARNING,
        "Early warning",
        "流失预警",
        "may leave (band medium or above) and not silent for longer than usual yet, most money at risk first",
        "有流失风险（中及以上），沉默尚未超过个人惯常间隔，按风险金额排序",
        early_warning,
        "money_at_risk",
    ),
    ReadyList(
        "champions",
        "Champions",
        "冠军客户",
        "the best customers, most valuable first",
        "最优质的客户，按价值排序",
        lambda s: s["value_tier"] == "champions",
        "clv",
    ),
    ReadyList(
        "dormant_high_value",
        "Dormant high value",
        "高价值沉睡客户",
        "spent much before, silent now, most money at risk first",
        "曾高额消费、如今沉默，按风险金额排序",
        lambda s: s["value_tier"] == "dormant_high_value",
        "money_at_risk",
    ),
    ReadyList(
        "win_back",
        "Win back",
        "值得召回",
        "gone (in whatever segment), and the proposed action is expected to bring more than it costs",
        "已流失（不限细分），且建议行动的预期收益高于成本",
        lambda s: (s["lifecycle_stage"] == "churned") & _acted_on(s),
        "expected_incremental_value",
    ),
    ReadyList(
        "human_tasks",
        "Tasks for people",
        "人工任务",
        "a person should call or write, most money at risk first",
        "需由专人联系，按风险金额排序",
        lambda s: s["human_task"],
        "money_at_risk",
    ),
    ReadyList(
        "do_not_disturb",
        "Do not disturb",
        "请勿打扰",
        "suppression list: no marketing consent on any channel",
        "屏蔽名单：未同意任何渠道的营销",
        lambda s: s["consented_channels"].fillna("") == "",
        "clv",
        ("customer_id", "suppressed_by"),  # goes to mailing tools: no more than they need
    ),
    ReadyList(
        "control_group",
        "Control group",
        "对照组",
        "held out from marketing so that its effect can be measured; leave these alone",
        "不作营销触达，用以衡量效果；请勿联系",
        lambda s: s["control_group"],
        "clv",
        ("customer_id", "control_group"),
    ),
)


def ready_lists(scores: pd.DataFrame, manifest: Manifest) -> Mapping[str, pd.DataFrame]:
    """Return every list by name, ordered, ties by customer_id; an empty list keeps its columns.

    When the manifest names the staff's capacity, the early warning holds so many of those who may be contacted.
    """
    titles = {action.code: action.label(manifest.language) for action in manifest.actions}
    wide = scores.assign(
        may_be_contacted=contactable(scores),
        action=scores["action_id"].map(titles).fillna(scores["action_id"]).astype("str"),
    )
    ordered = {
        ready.name: wide[ready.chosen(scores)].sort_values(
            [ready.ordered_by, "customer_id"], ascending=[False, True], ignore_index=True
        )
        for ready in READY_LISTS
    }
    if manifest.capacity is not None:
        warned = ordered[EARLY_WARNING]
        ordered[EARLY_WARNING] = warned[warned["may_be_contacted"]].head(manifest.capacity)
    return MappingProxyType({ready.name: ordered[ready.name].loc[:, list(ready.columns)] for ready in READY_LISTS})
