"""Attributes of the business's own in a playbook: a condition asks for words that records carry of customers."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.records import AsOf, Records
from perennial.errors import PlaybookError
from serving.decisions.predicates import Fact, Unit, Values
from serving.decisions.sections import nearest

if TYPE_CHECKING:
    from serving.decisions.playbook import Playbook

KEY = "attributes"
OF_CONTRACT = ("language", "region")  # words that every source file may carry


def attribute(name: str) -> Fact:
    """Return the fact that a condition on an attribute asks for; unknown where nothing is carried under its name."""
    return Fact(
        f"{KEY}.{name}", Unit.TEXT, (), "attribute of the business's own", "企业自有属性", partial(_words, name)
    )


def _words(name: str, frame: pd.DataFrame, _as_of: AsOf) -> Values:
    words = frame.reindex(columns=[name])[name].astype(object)
    return np.asarray(words.where(words.notna(), ""), dtype=object)


def require_attributes(playbook: "Playbook", records: Records) -> None:
    """Raise PlaybookError when a condition asks for an attribute that the records do not carry."""
    carried = (*records.attributes, *OF_CONTRACT)
    for action in playbook.actions:
        for condition in action.conditions:
            key, _, name = condition.fact.name.partition(".")
            if key == KEY and name not in carried:
                raise PlaybookError(
                    f"{playbook.path}: [actions.{action.id}.when.{KEY}] {name}: [customers] of {records.name} carries "
                    f"no {name}; map it in the source file, or ask for what is there ({nearest(name, carried)})"
                )
