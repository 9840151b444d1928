"""Every feature earns its place: what the catalogue says it is kept for is true where the code can tell."""

import pytest

from benchmarks.ablation_added import OUTCOMES
from benchmarks.ablation_sets import SUBJECTS
from features.catalogue import FEATURES
from models.reasons import sentence_columns
from models.segments import SegmentModel
from models.silence import DRIVERS, SUMMARY
from serving.decisions.arbitration import columns_read
from serving.decisions.playbook import load_playbook
from serving.rows import SHOWN_FEATURES

READ_BY = {
    "purchases": {*SUMMARY, *DRIVERS},
    "value": {*SUMMARY, "monetary_value"},
    "segments": set(SegmentModel.inputs),
    "playbook": columns_read(load_playbook(None)),
    "scores": set(SHOWN_FEATURES),
    "reasons": set().union(*(sentence_columns([name]) - {name} for name in FEATURES)),
}
PROVEN_ON = {*SUBJECTS, *(f"{name} group" for name in SUBJECTS)}
PROVEN_FOR = {f"{name} {outcome}" for name in SUBJECTS for outcome in OUTCOMES}


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
def test_every_feature_is_kept_for_something_true(feature):
    assert feature.kept_for
    assert set(feature.kept_for) <= {*PROVEN_ON, *PROVEN_FOR, *READ_BY, "need_type", "description"}
    for reader in READ_BY.keys() & set(feature.kept_for):
        assert feature.name in READ_BY[reader], reader


def test_of_the_new_only_what_is_proven_is_a_model_input():
    described = [name for name, feature in FEATURES.items() if not feature.model_input]
    assert described
    assert not any(PROVEN_ON & set(FEATURES[name].kept_for) for name in described)


def test_unproven_is_only_the_last_of_its_kind_and_no_model_learns_from_it():
    """Channels are asked for, and no records have shown their use."""
    unproven = {name: feature for name, feature in FEATURES.items() if "description" in feature.kept_for}
    assert set(unproven) == {"favourite_channel_share"}
    assert not any(feature.model_input for feature in unproven.values())


def test_there_are_at_least_eighty():
    assert len(FEATURES) >= 80
