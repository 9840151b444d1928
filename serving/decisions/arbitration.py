"""Choosing one action for every customer: by urgency, then by expected incremental value; doing nothing is one.

Value of an action, in the currency of the scores:

    relative_churn_reduction × money_at_risk + relative_spend_lift × expected_spend × margin − costs,
    costs = contact_cost + offer_cost + discount_rate × expected_order_value × P(an order in the horizon)

The discount is paid on every next order, also on one that would have come anyway.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.records import AsOf
from serving.codes import Code, Language
from serving.decisions import policy
from serving.decisions.control import control_group
from serving.decisions.playbook import DO_NOTHING, Action, Playbook
from serving.decisions.predicates import FACTS, Fact, Values, shown

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NOTHING = -1
# Above any value in money, so that urgency decides first.
_URGENT = 1e300

_IDLE: dict[Language, dict[str, str]] = {
    "en": {
        "held": "“{title}” would be next, but {rule}.",
        "worthless": "Nothing that fits is expected to earn more than it costs.",
        "unfit": "No action of the playbook fits now.",
    },
    "zh": {
        "held": "本应进行“{title}”，但{rule}。",
        "worthless": "适用的行动预期收益均不高于成本。",
        "unfit": "策略手册中暂无适用行动。",
    },
}


@dataclass(frozen=True)
class _Options:
    """Every action for every customer; arrays of shape (n_customers, n_actions).

    ``rank`` is -inf where an action is no candidate; ``blocked`` numbers the rule that holds it back, 0 for none.
    """

    eligible: Flags
    value: Floats
    rank: Floats
    blocked: npt.NDArray[np.int8]


@dataclass(frozen=True)
class _Choice:
    """The draw for every customer; ``best`` would be chosen were it not for ``rule`` (0 for none)."""

    action: Ints
    best: Ints
    rule: npt.NDArray[np.int8]
    propensity: Floats
    control: Flags


def propose(
    frame: pd.DataFrame,
    playbook: Playbook,
    as_of: AsOf,
    language: Language,
    history: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Propose the next best action of every customer; nothing is logged.

    ``frame`` has score, snapshot and context columns by ``customer_id`` (index); ``history`` are committed
    decisions (see ``policy.standing``). ``propensity`` is the probability with which the standing control draw
    gives this action to this customer: 1 − share or share where the draw matters, else 1.
    """
    values = {name: fact.values(frame, as_of) for name, fact in _needed(playbook).items()}
    margin, margin_known = _margin(frame)
    eligible = _matrix([_eligible(action, values) for action in playbook.actions], len(frame))
    urgent = np.array([action.urgency is not None for action in playbook.actions], dtype=bool)
    person_due = np.asarray(eligible[:, urgent].any(axis=1), dtype=bool)
    facts = policy.standing(frame, playbook, as_of, person_due, margin_known, history)
    options = _options(frame, playbook, facts, eligible, margin)
    choice = _choose(frame, playbook, options)
    return _written(frame, playbook, as_of, language, facts, values, options, choice)


def columns_read(playbook: Playbook) -> frozenset[str]:
    """Return the columns that conditions, reasons and the rules of contact look at, beside scores."""
    asked = (column for fact in _needed(playbook).values() for column in fact.columns)
    return frozenset((*asked, *policy.SNAPSHOT_COLUMNS))


def _needed(playbook: Playbook) -> dict[str, Fact]:
    """Facts that conditions ask for or that reasons may show, by name."""
    asked = {condition.fact.name: condition.fact for action in playbook.actions for condition in action.conditions}
    told = {
        name: fact
        for action in playbook.actions
        for text in action.reason.values()
        for name, fact in FACTS.items()
        if f"{{{name}}}" in text
    }
    return dict(sorted((asked | told).items()))


def _margin(frame: pd.DataFrame) -> tuple[Floats, Flags]:
    """Return what turns spend into the scores' basis, and whether that is margin."""
    rate = frame["margin_rate"].to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(rate) & (frame["clv_basis"] == "margin").to_numpy(dtype=bool)
    return np.where(known, rate, 1.0), known


def _eligible(action: Action, values: dict[str, Values]) -> Flags:
    held = [condition.holds(values[condition.fact.name]) for condition in action.conditions]
    return np.asarray(np.logical_and.reduce(held), dtype=bool)


def _matrix(columns: list[npt.NDArray[np.bool_]], rows: int) -> Flags:
    return np.column_stack(columns) if columns else np.zeros((rows, 0), dtype=bool)


def _options(
    frame: pd.DataFrame, playbook: Playbook, facts: policy.Standing, eligible: Flags, margin: Floats
) -> _Options:
    value = np.zeros(eligible.shape)
    blocked = np.zeros(eligible.shape, dtype=np.int8)
    rank = np.full(eligible.shape, -np.inf)
    for j, action in enumerate(playbook.actions):
        value[:, j] = _value(action, frame, margin)
        blocked[:, j] = policy.suppressed(action, facts, playbook)
        if action.urgency is None:
            candidate, score = eligible[:, j] & (value[:, j] > 0), value[:, j]
        else:
            candidate, score = eligible[:, j], np.full(len(frame), _URGENT / action.urgency)
        rank[candidate, j] = score[candidate]
    return _Options(eligible, value, rank, blocked)


def _value(action: Action, frame: pd.DataFrame, margin: Floats) -> Floats:
    """Expected incremental value; an unknown part counts as nothing earned, an unknown cost forbids the action."""

    def known(column: str) -> Floats:
        return frame[column].to_numpy(dtype=np.float64, na_value=0.0)

    earned = action.churn_reduction * known("money_at_risk") + action.spend_lift * known("expected_spend") * margin
    value = earned - (action.contact_cost + action.offer_cost)
    if action.discount_rate:
        buys = 1 - known("churn_probability") * (1 - action.churn_reduction)
        value -= action.discount_rate * known("expected_order_value") * buys
        value[frame["expected_order_value"].isna().to_numpy()] = -np.inf
    return value


def _choose(frame: pd.DataFrame, playbook: Playbook, options: _Options) -> _Choice:
    """Draw: what the treated get, what the control group gets, and who is in which."""
    share = playbook.control_share
    control = control_group(frame.index.astype(str), playbook.control_salt, share)
    service = np.array([not action.is_marketing for action in playbook.actions], dtype=bool)
    free = np.where(options.blocked == 0, options.rank, -np.inf)
    best, treated = _best(options.rank), _best(free)
    withheld = _best(np.where(service, free, -np.inf))
    drawn = np.where(control, withheld, treated)
    matters = treated != withheld
    propensity = np.where(matters, np.where(control, share, 1 - share), 1.0)
    withdrawn = control & matters
    rule = np.zeros(len(frame), dtype=np.int8)
    wanted = np.flatnonzero(best != _NOTHING)
    rule[wanted] = options.blocked[wanted, best[wanted]]
    rule[withdrawn] = policy.CONTROL
    return _Choice(drawn, np.where(withdrawn, treated, best), rule, propensity, control)


def _best(rank: Floats) -> Ints:
    """Return the highest-ranked action of each customer, the playbook's first on a tie; -1 for none."""
    if rank.shape[1] == 0:
        return np.full(len(rank), _NOTHING)
    return np.where(np.isfinite(rank).any(axis=1), rank.argmax(axis=1), _NOTHING)


def _written(
    frame: pd.DataFrame,
    playbook: Playbook,
    as_of: AsOf,
    language: Language,
    facts: policy.Standing,
    values: dict[str, Values],
    options: _Options,
    choice: _Choice,
) -> pd.DataFrame:
    count = len(frame)
    columns = {name: np.full(count, None, dtype=object) for name in ("channel", "kind", "reason", "evidence")}
    value, human = np.zeros(count), np.zeros(count, dtype=bool)
    currency = frame["currency"].to_numpy(dtype=object)
    due = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    for j, action in enumerate(playbook.actions):
        rows = np.flatnonzero(choice.action == j)
        if not rows.size:
            continue
        columns["channel"][rows] = policy.channels(action, facts, rows)
        columns["kind"][rows] = action.content_kind
        columns["evidence"][rows] = action.evidence
        columns["reason"][rows] = _reasons(action.reason[language], rows, values, currency, language)
        value[rows] = options.value[rows, j]
        human[rows] = action.is_human_task
        if action.deadline_hours is not None:
            due.iloc[rows] = pd.Timestamp(as_of.instant + timedelta(hours=action.deadline_hours))
    idle = np.flatnonzero(choice.action == _NOTHING)
    columns["reason"][idle] = _idle_reasons(idle, playbook, language, options, choice)
    names = np.array([*(action.id for action in playbook.actions), DO_NOTHING], dtype=object)
    codes = np.array([None, *(code.code for code in policy.SUPPRESSIONS)], dtype=object)
    return pd.DataFrame(
        {
            "action_id": pd.Series(names[choice.action], index=frame.index, dtype="str"),
            "action_channel": pd.Series(columns["channel"], index=frame.index, dtype="str"),
            "action_reason": pd.Series(columns["reason"], index=frame.index, dtype="str"),
            "expected_incremental_value": value,
            "evidence": pd.Series(columns["evidence"], index=frame.index, dtype="str"),
            "human_task": human,
            "due_by": due,
            "suppressed_by": pd.Series(codes[choice.rule], index=frame.index, dtype="str"),
            "control_group": choice.control,
            "propensity": choice.propensity,
            "eligible_actions": _lists(options.eligible, names),
            "content_kind": pd.Series(columns["kind"], index=frame.index, dtype="str"),
        },
        index=frame.index,
    )


def _reasons(template: str, rows: Ints, values: dict[str, Values], currency: Values, language: Language) -> list[str]:
    """Fill a template with the numbers of the customers in ``rows``."""
    names = [name for name in values if f"{{{name}}}" in template]
    told = [
        [
            shown(FACTS[name], value, language, unit)
            for value, unit in zip(values[name][rows], currency[rows], strict=True)
        ]
        for name in names
    ]
    if not names:
        return [template] * len(rows)
    return [template.format(**dict(zip(names, words, strict=True))) for words in zip(*told, strict=True)]


def _idle_reasons(rows: Ints, playbook: Playbook, language: Language, options: _Options, choice: _Choice) -> list[str]:
    words = _IDLE[language]

    def reason(row: int) -> str:
        rule, best = choice.rule[row], choice.best[row]
        if rule:
            code: Code = policy.SUPPRESSIONS[rule - 1]
            return words["held"].format(title=playbook.actions[best].title[language], rule=code.meaning(language))
        return words["worthless" if options.eligible[row].any() else "unfit"]

    return [reason(row) for row in rows]


def _lists(eligible: Flags, names: npt.NDArray[np.object_]) -> list[list[str]]:
    """Return the eligible actions of each customer in the playbook's order, do_nothing last."""
    known: dict[bytes, list[str]] = {}
    lists = []
    for row, packed in zip(eligible, np.packbits(eligible, axis=1), strict=True):
        key = packed.tobytes()
        if key not in known:
            known[key] = [*names[:-1][row], names[-1]]
        lists.append(known[key].copy())
    return lists
