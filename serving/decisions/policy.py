"""What must not be sent now, whatever it would earn: consent, complaints, cooldowns, caps, margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contract import CONTACT_CHANNELS
from features.records import AsOf
from perennial.errors import PlaybookError
from serving.codes import Code
from serving.decisions.playbook import DO_NOTHING, Action, Playbook

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# In the order in which they are checked: the first that applies is the one reported. 0 means free.
SUPPRESSIONS: tuple[Code, ...] = (
    Code(
        "no_consent", "No consent", "未获同意", "no consent to marketing on any of its channels", "客户未同意该渠道营销"
    ),
    Code(
        "open_complaint", "Open complaint", "投诉未结", "no marketing while a complaint is open", "投诉未结期间不作营销"
    ),
    Code(
        "person_first",
        "A person first",
        "人工优先",
        "a person's task is due, so no automated offer goes out",
        "已有专人任务，不发自动化优惠",
    ),
    Code("cooldown", "Cooling down", "冷却期", "the last contact is too recent", "距上次触达过近"),
    Code(
        "cap_reached",
        "Contact cap reached",
        "触达已达上限",
        "the tier's contacts for 30 or 90 days are used up",
        "30天或90天触达次数已达上限",
    ),
    Code(
        "margin_unknown",
        "Margin unknown",
        "毛利未知",
        "it spends money and the margin is unknown",
        "行动需花费而毛利未知",
    ),
    Code(
        "control_group",
        "Control group",
        "对照组",
        "held out so that marketing's effect can be measured",
        "对照组保留，用于衡量营销效果",
    ),
)
_NUMBER: Mapping[str, int] = MappingProxyType({code.code: i for i, code in enumerate(SUPPRESSIONS, start=1)})
CONTROL = _NUMBER["control_group"]


@dataclass(frozen=True)
class Standing:
    """What the rules need to know of every customer; arrays of shape (n_customers,).

    ``agreed`` is (n_customers, n_channels) in the order of CONTACT_CHANNELS; ``favourite`` is a number there or -1.
    ``days_since_contact`` is infinite for who was never contacted, ``last_of_action`` the same for one action.
    """

    agreed: Flags
    favourite: npt.NDArray[np.int64]
    complaint_open: Flags
    person_due: Flags
    capped: Flags
    days_since_contact: Floats
    last_of_action: Mapping[str, Floats]
    margin_known: Flags


SNAPSHOT_COLUMNS = ("complaints_open", "offers_received_30d", "offers_received_90d")


def standing(
    frame: pd.DataFrame,
    playbook: Playbook,
    as_of: AsOf,
    person_due: Flags,
    margin_known: Flags,
    history: pd.DataFrame | None = None,
) -> Standing:
    """Gather what the rules need.

    ``history`` holds committed decisions, ``customer_id, action_id, decided_at`` (UTC); those after a customer's
    last recorded offer have not come back in the records yet and count on top of them.
    """
    sent = _unrecorded(frame, playbook, history)
    last_offer = _days_since(frame["last_offer_at"], as_of)
    of_action = frame["last_action_id"].astype(object).to_numpy()
    last_of_action = {
        action.id: np.fmin(np.where(of_action == action.id, last_offer, np.inf), sent.days(frame, as_of, action.id))
        for action in playbook.actions
    }
    return Standing(
        agreed=_agreed(frame["consented_channels"]),
        favourite=_numbers(frame["favourite_channel"]),
        complaint_open=frame["complaints_open"].to_numpy(dtype=np.float64) > 0,
        person_due=person_due,
        capped=_capped(frame, playbook, as_of, sent),
        days_since_contact=np.fmin(last_offer, sent.days(frame, as_of)),
        last_of_action=last_of_action,
        margin_known=margin_known,
    )


def suppressed(action: Action, facts: Standing, playbook: Playbook) -> npt.NDArray[np.int8]:
    """Return which rule blocks an action for each customer, 0 for none; the control draw comes later."""
    cooling: Flags = np.less(facts.last_of_action[action.id], action.cooldown_days)
    rules: dict[str, Flags] = {"cooldown": cooling}
    if action.is_marketing:
        rules = {
            "no_consent": np.asarray(~facts.agreed[:, _channel_numbers(action)].any(axis=1)),
            "open_complaint": facts.complaint_open,
            "person_first": facts.person_due & (not action.is_human_task),
            "cooldown": cooling | np.less(facts.days_since_contact, playbook.minimum_gap_days),
            "cap_reached": facts.capped,
        }
    if action.spends_money:
        rules["margin_unknown"] = ~facts.margin_known
    blocked = np.zeros(len(facts.capped), dtype=np.int8)
    for code in reversed(rules):
        blocked[rules[code]] = _NUMBER[code]
    return blocked


def channels(action: Action, facts: Standing, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """Return the channel of customers who get an action: the favourite one if allowed, else the first allowed."""
    numbers = _channel_numbers(action)
    rank = np.where(facts.favourite[rows, None] == numbers, -1, np.arange(len(numbers)))
    if action.is_marketing:
        rank[~facts.agreed[np.ix_(rows, numbers)]] = len(numbers)
    names: npt.NDArray[np.object_] = np.array(action.channels, dtype=object)[rank.argmin(axis=1)]
    return names


@dataclass(frozen=True)
class _Sent:
    """Committed decisions that the records do not hold yet; ``marketing`` are those that caps and the gap count."""

    rows: pd.DataFrame
    marketing: pd.DataFrame

    def days(self, frame: pd.DataFrame, as_of: AsOf, action_id: str | None = None) -> Floats:
        """Days since the last one of an action, or of any marketing; infinite where there is none."""
        if self.rows.empty:
            return np.full(len(frame), np.inf)
        rows = self.marketing if action_id is None else self.rows[self.rows["action_id"] == action_id]
        return _days_since(rows.groupby("customer_id")["decided_at"].max().reindex(frame.index), as_of)

    def count(self, frame: pd.DataFrame, as_of: AsOf, days: int) -> Floats:
        """How much marketing in the last ``days`` days."""
        recent = self.marketing[_days_since(self.marketing["decided_at"], as_of) < days]
        counted = recent.groupby("customer_id").size().reindex(frame.index, fill_value=0)
        return np.asarray(counted, dtype=np.float64)


def _unrecorded(frame: pd.DataFrame, playbook: Playbook, history: pd.DataFrame | None) -> _Sent:
    if history is None or history.empty:
        nothing = pd.DataFrame({"customer_id": [], "action_id": [], "decided_at": pd.to_datetime([], utc=True)})
        return _Sent(nothing, nothing)
    last = frame["last_offer_at"].reindex(history["customer_id"]).set_axis(history.index)
    rows = history[last.isna() | (history["decided_at"] > last)]
    # An action that the playbook no longer has was marketing as far as caps are concerned.
    exempt = [DO_NOTHING, *(action.id for action in playbook.actions if not action.is_marketing)]
    return _Sent(rows, rows[~rows["action_id"].isin(exempt)])


def _capped(frame: pd.DataFrame, playbook: Playbook, as_of: AsOf, sent: _Sent) -> Flags:
    tiers = frame["contact_tier"].astype(object)
    unknown = sorted({str(tier) for tier in tiers.unique()} - set(playbook.caps))
    if unknown:
        raise PlaybookError(f"{playbook.path}: [caps] has no entry for contact tier {unknown[0]!r}")
    capped = np.zeros(len(frame), dtype=bool)
    for days, column in ((30, "offers_received_30d"), (90, "offers_received_90d")):
        cap = tiers.map({tier: getattr(caps, f"days_{days}") for tier, caps in playbook.caps.items()})
        received = np.nan_to_num(frame[column].to_numpy(dtype=np.float64)) + sent.count(frame, as_of, days)
        capped |= received >= cap.to_numpy(dtype=np.float64)
    return capped


def _days_since(instants: "pd.Series[Any]", as_of: AsOf) -> Floats:
    """Return days until ``as_of``; infinite for none, 0 for what was decided later on an older scoring."""
    elapsed = pd.Timestamp(as_of.instant) - pd.to_datetime(instants, utc=True)
    days = np.asarray(elapsed / pd.Timedelta(days=1), dtype=np.float64)
    return np.where(np.isnan(days), np.inf, np.maximum(days, 0.0))


def _agreed(consented: "pd.Series[Any]") -> Flags:
    lists: Sequence[Any] = consented.tolist()
    return np.array(
        [[channel in row for channel in CONTACT_CHANNELS] if isinstance(row, list) else _NONE for row in lists],
        dtype=bool,
    ).reshape(len(lists), len(CONTACT_CHANNELS))


_NONE = [False] * len(CONTACT_CHANNELS)


def _numbers(channels: "pd.Series[Any]") -> npt.NDArray[np.int64]:
    order = {channel: number for number, channel in enumerate(CONTACT_CHANNELS)}
    return np.array([order.get(channel, -1) for channel in channels.tolist()], dtype=np.int64)


def _channel_numbers(action: Action) -> npt.NDArray[np.int64]:
    return np.array([CONTACT_CHANNELS.index(channel) for channel in action.channels])
