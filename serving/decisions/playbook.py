"""The playbook: what may be done for a customer, for whom, at what cost; a TOML file that a marketer edits."""

import hashlib
import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from features.contract import CONTACT_CHANNELS
from perennial.errors import PlaybookError
from serving.codes import CODE_LISTS, Code, Language
from serving.columns import COLUMN_NAMES
from serving.decisions.attributes import KEY as ATTRIBUTES
from serving.decisions.attributes import attribute
from serving.decisions.predicates import FACTS, Condition, Fact, Unit
from serving.decisions.sections import Section, nearest

DO_NOTHING = "do_nothing"
LONGEST_COOLDOWN = timedelta(days=3650)
KINDS = ("marketing", "service")
CONTENT_KINDS = ("value", "emotion", "call_to_action")
EVIDENCE = ("assumed", "measured")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")

Texts = Mapping[Language, str]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do for a customer.

    Costs are in the source's currency; effects are relative: ``churn_reduction`` of the money at risk is kept,
    ``spend_lift`` is added to the expected spend. ``deadline_hours`` makes it a task for a person; an ``urgency``
    (1 comes first) outranks every action without one.
    """

    id: str
    kind: Literal["marketing", "service"]
    channels: tuple[str, ...]
    content_kind: Literal["value", "emotion", "call_to_action"]
    conditions: tuple[Condition, ...]
    cooldown_days: float
    contact_cost: float
    offer_cost: float
    discount_rate: float
    staff_minutes: float
    deadline_hours: float | None
    urgency: int | None
    churn_reduction: float
    spend_lift: float
    evidence: Literal["assumed", "measured"]
    source: str
    title: Texts
    reason: Texts

    @property
    def is_marketing(self) -> bool:
        """Whether consent, caps, cooldowns and the control group hold it back."""
        return self.kind == "marketing"

    @property
    def is_human_task(self) -> bool:
        """Whether a person does it, by a deadline."""
        return self.deadline_hours is not None

    @property
    def spends_money(self) -> bool:
        """Whether it can only be judged against a margin."""
        return self.contact_cost + self.offer_cost + self.discount_rate > 0

    @property
    def costs(self) -> str:
        """Money and a person's time for each contact, in words."""
        money = self.contact_cost + self.offer_cost
        parts = [f"{money:g} per contact"] if money else []
        if self.discount_rate:
            parts.append(f"{self.discount_rate:.0%} off")
        if self.deadline_hours is not None:
            parts.append(f"{self.staff_minutes:g} min of a person within {self.deadline_hours:g} h")
        return ", ".join(parts) or "no cost"


@dataclass(frozen=True, slots=True)
class Cap:
    """Most marketing contacts one customer may get in 30 and in 90 days."""

    days_30: int
    days_90: int


@dataclass(frozen=True, slots=True)
class Playbook:
    """A validated playbook; ``sha256`` of the file's bytes is its version."""

    path: str
    sha256: str
    control_share: float
    control_salt: str
    minimum_gap_days: float
    caps: Mapping[str, Cap]
    actions: tuple[Action, ...]

    @property
    def draw_id(self) -> str:
        """Names the control draw without giving the salt away."""
        return hashlib.sha256(self.control_salt.encode()).hexdigest()[:16]

    @property
    def codes(self) -> tuple[Code, ...]:
        """Titles of the actions, so that files and reports can name them; the meaning is the evidence."""
        actions = (
            Code(a.id, a.title["en"], a.title["zh"], f"{a.evidence}: {a.source}", f"{a.evidence}: {a.source}")
            for a in self.actions
        )
        return (*actions, _NOTHING)


_NOTHING = Code(
    DO_NOTHING, "Leave alone", "不打扰", "no permitted action is worth its cost", "没有值得其成本的可行行动"
)


def load_playbook(path: Path | None = None) -> Playbook:
    """Read and validate a playbook; without a path the shipped one."""
    name = str(path) if path else "shipped playbook"
    try:
        content = Path(path).read_bytes() if path else (files("serving.decisions") / "playbook.toml").read_bytes()
    except OSError as error:
        raise PlaybookError(f"{name}: cannot be read ({error.strerror}); give the path of a playbook file") from None
    return _read(content, name)


@lru_cache(maxsize=8)
def _read(content: bytes, name: str) -> Playbook:
    """Parse a playbook once for as long as it stays the same: a request for one customer waits for it."""
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PlaybookError(f"{name}: is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise PlaybookError(f"{name}: is not valid TOML: {error}") from None
    return _playbook(Section(name, "", data), name, hashlib.sha256(content).hexdigest())


def _playbook(top: Section, name: str, sha256: str) -> Playbook:
    control, caps, actions = top.section("control"), top.section("caps"), top.section("actions")
    minimum_gap = caps.number("minimum_gap_days", 0, 365)
    playbook = Playbook(
        path=name,
        sha256=sha256,
        control_share=control.number("share", 0, 0.5),
        control_salt=control.text("salt"),
        minimum_gap_days=minimum_gap,
        caps=MappingProxyType({code.code: _cap(caps.section(code.code)) for code in CODE_LISTS["contact_tier"]}),
        actions=tuple(_action(actions.section(action_id), action_id) for action_id in actions.names),
    )
    for section in (control, caps, actions, top):
        section.finish()
    return playbook


def _cap(section: Section) -> Cap:
    cap = Cap(days_30=section.whole("days_30", 0, 30), days_90=section.whole("days_90", 0, 90))
    if cap.days_90 < cap.days_30:
        raise section.error("days_90", cap.days_90, f"at least days_30, which is {cap.days_30}")
    section.finish()
    return cap


def _action(section: Section, action_id: str) -> Action:
    if not _ID.fullmatch(action_id) or action_id == DO_NOTHING:
        raise section.error("id", action_id, "lower-case letters, digits and _ (do_nothing is built in)")
    effect = section.section("effect")
    action = Action(
        id=action_id,
        kind=cast(Literal["marketing", "service"], section.choice("kind", KINDS)),
        channels=section.choices("channels", CONTACT_CHANNELS),
        content_kind=cast(Literal["value", "emotion", "call_to_action"], section.choice("content", CONTENT_KINDS)),
        conditions=_conditions(section.section("when")),
        cooldown_days=section.number("cooldown_days", 0, LONGEST_COOLDOWN.days),
        contact_cost=section.number("contact_cost", 0, 1e6, default=0.0),
        offer_cost=section.number("offer_cost", 0, 1e6, default=0.0),
        discount_rate=section.number("discount_rate", 0, 1, default=0.0),
        staff_minutes=section.number("staff_minutes", 0, 1440, default=0.0),
        deadline_hours=section.number("deadline_hours", 0, 24 * 90) if "deadline_hours" in section.names else None,
        urgency=section.whole("urgency", 1, 99) if "urgency" in section.names else None,
        churn_reduction=effect.number("relative_churn_reduction", -1, 1),
        spend_lift=effect.number("relative_spend_lift", -1, 10),
        evidence=cast(Literal["assumed", "measured"], effect.choice("evidence", EVIDENCE)),
        source=effect.text("source"),
        title=_texts(section.section("title"), placeholders=False),
        reason=_texts(section.section("reason"), placeholders=True),
    )
    _check_whole(section, action)
    effect.finish()
    section.finish(("deadline_hours", "urgency"))
    return action


def _check_whole(section: Section, action: Action) -> None:
    """Refuse values that are each allowed and contradict one another."""
    if action.is_human_task and not action.staff_minutes:
        raise section.error("staff_minutes", 0, "over 0, because deadline_hours makes it a task for a person")
    if action.urgency is not None and not action.is_human_task:
        raise section.error(
            "urgency", action.urgency, "deadline_hours beside it: only a person's task may jump the queue"
        )
    if action.evidence == "measured" and action.source == "illustrative":
        raise section.error("effect.source", action.source, "the experiment that measured it")
    if action.discount_rate:
        _check_declared_terms(section, action)


def _check_declared_terms(section: Section, action: Action) -> None:
    """Price-like benefits follow declared tiers, never a predicted willingness to pay (PIPL art. 24, GDPR art. 21)."""
    facts = {condition.fact.name: condition.fact for condition in action.conditions}
    predicted = sorted(name for name, fact in facts.items() if fact.predicted)
    if predicted:
        raise section.error("when", predicted[0], "no prediction: a discount may depend on declared tiers and records")
    if not facts.keys() & {"value_tier", "contact_tier", "lifecycle_stage"}:
        raise section.error("when", sorted(facts), "a value_tier, contact_tier or lifecycle_stage: who gets a discount")


def _conditions(section: Section) -> tuple[Condition, ...]:
    conditions = (
        *(_condition(section, name) for name in section.names if name != ATTRIBUTES),
        *(_attributes(section.section(ATTRIBUTES)) if ATTRIBUTES in section.names else ()),
    )
    if not conditions:
        raise section.error("when", {}, "at least one condition")
    return conditions


def _condition(section: Section, name: str) -> Condition:
    fact = FACTS.get(name)
    if fact is None or fact.unit is Unit.TEXT:
        askable = [*(fact.name for fact in FACTS.values() if fact.unit is not Unit.TEXT), ATTRIBUTES]
        raise section.error(name, "…", nearest(name, askable))
    if fact.unit is Unit.CODE:
        return Condition(fact, one_of=section.choices(name, fact.codes))
    if fact.unit is Unit.FLAG:
        return Condition(fact, expected=section.flag(name))
    return _range(section.section(name), fact)


def _attributes(section: Section) -> tuple[Condition, ...]:
    """Return conditions on the business's own attributes; none may have the name of a score, which would be read."""
    for name in section.names:
        if name in COLUMN_NAMES:
            raise section.error(name, "…", "an attribute; this is a score: name the attribute otherwise in [customers]")
    return tuple(Condition(attribute(name), one_of=section.texts(name)) for name in section.names)


def _range(section: Section, fact: Fact) -> Condition:
    bounds = {key: section.number(key, -1e12, 1e12) for key in ("at_least", "at_most") if key in section.names}
    section.finish(("at_least", "at_most"))
    if not bounds:
        raise section.error("at_least", None, "at_least, at_most or both")
    condition = Condition(fact, at_least=bounds.get("at_least"), at_most=bounds.get("at_most"))
    if len(bounds) == 2 and bounds["at_least"] > bounds["at_most"]:
        raise section.error("at_least", bounds["at_least"], f"not above at_most, which is {bounds['at_most']:g}")
    return condition


def _texts(section: Section, *, placeholders: bool) -> Texts:
    texts = {language: section.text(language) for language in LANGUAGES}
    for language, text in texts.items():
        _check_placeholders(section, language, text, FACTS if placeholders else {})
    section.finish()
    return MappingProxyType(texts)


def _check_placeholders(section: Section, language: str, text: str, allowed: Mapping[str, Fact]) -> None:
    try:
        names = [(name, spec or conversion) for _, name, spec, conversion in string.Formatter().parse(text)]
    except ValueError:
        raise section.error(language, text, "every { closed by a }") from None
    for name, extra in names:
        if name is not None and (name not in allowed or extra):
            raise section.error(language, f"{{{name}}}", nearest(name, list(allowed)))


def describe(playbook: Playbook) -> list[str]:
    """Say in words what a playbook does, one line each."""
    lines = [
        f"{playbook.path}: {len(playbook.actions)} actions and do_nothing; version {playbook.sha256[:12]}",
        f"control group: {playbook.control_share:.0%} of customers get no marketing",
        f"at least {playbook.minimum_gap_days:g} days between two marketing contacts; "
        + "; ".join(
            f"{tier} at most {cap.days_30} in 30 days, {cap.days_90} in 90" for tier, cap in playbook.caps.items()
        ),
    ]
    return lines + [_describe(action) for action in playbook.actions]


def _describe(action: Action) -> str:
    asked = ", ".join(map(str, action.conditions))
    return (
        f"  {action.id} ({action.kind}, {'/'.join(action.channels)}; {action.costs}): "
        f"{action.title['en']} / {action.title['zh']}, when {asked}; keeps {action.churn_reduction:.1%} of the money "
        f"at risk, adds {action.spend_lift:.1%} spend ({action.evidence}: {action.source})"
    )
