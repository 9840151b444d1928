"""Groups of customers by attributes that no model reads: what is beyond chance is said, what is not is not."""

import json

import numpy as np
import pandas as pd
import pytest

from features.context import attributes_of
from features.records import Records
from features.sources import read_records
from perennial.settings import settings
from training.dataset import gather
from training.fairness import judge_groups
from training.fit import train
from training.parts import POOLED, groups, parts_of
from training.registry import Registry

rng = np.random.default_rng(4)
CUSTOMERS = 4_000
PROBABILITY = rng.beta(1.0, 3.0, CUSTOMERS)
LEFT = (rng.random(CUSTOMERS) < PROBABILITY).astype(float)
REGION = pd.Series(rng.choice(["North", "South", "West"], CUSTOMERS, p=[0.6, 0.3, 0.1]))


def judged(probability=PROBABILITY, outcome=LEFT, words=REGION):
    found = judge_groups(pd.DataFrame({"region": words}), outcome, probability, seed=1)
    assert found is not None
    return found


def test_groups_that_are_served_alike_give_no_finding():
    found = judged()
    assert [group.value for group in found.groups] == ["North", "South", "West"]
    assert sum(group.customers for group in found.groups) == CUSTOMERS
    assert found.findings() == ()
    assert all(group.holds for group in found.groups)


def test_a_level_that_is_wrong_for_one_group_is_said():
    west = (REGION == "West").to_numpy()
    found = judged(np.where(west, np.clip(PROBABILITY - 0.15, 0.01, 0.99), PROBABILITY))
    (said,) = [line for line in found.findings() if "beyond what chance allows" in line]
    assert said.startswith("fairness, region West (")


def test_a_group_that_is_ranked_worse_is_said():
    south = (REGION == "South").to_numpy()
    mixed = PROBABILITY.copy()
    mixed[south] = rng.permutation(PROBABILITY[south])
    assert [line.split(" (")[0] for line in judged(mixed).findings()] == ["fairness, region South"]
    assert "ranked worse: AUC" in judged(mixed).findings()[0]


def test_a_group_that_is_selected_more_often_is_said_beside_how_many_of_it_left():
    west = (REGION == "West").to_numpy()
    higher = np.where(west, np.sqrt(PROBABILITY), PROBABILITY)
    outcome = (rng.random(CUSTOMERS) < higher).astype(float)
    (said,) = judged(higher, outcome).findings()
    assert "times as often as everyone" in said
    assert "times as many left" in said


def test_every_figure_is_plain_json():
    written = json.loads(judged(np.full(CUSTOMERS, 0.01)).to_json())  # nobody is selected
    assert written["everyone"]["selected"] == 0
    assert written["groups"][0]["selection_ratio"] is None
    assert {"customers", "auc", "predicted", "observed", "low", "high", "selected", "holds"} <= set(
        written["groups"][0]
    )


@pytest.fixture
def shop(tmp_path, simulate):
    """Return what writes the same orders with other words for each customer and reads them."""

    def written(words: dict[str, str]) -> Records:
        lines = simulate()
        lines.to_csv(tmp_path / "orders.csv", index=False)
        people = pd.DataFrame({"id": list(words), "Place": list(words.values())})
        people.to_csv(tmp_path / "people.csv", index=False)
        source = tmp_path / "source.toml"
        source.write_text(
            'name = "shop"\ncurrency = "EUR"\ntimezone = "UTC"\n[fairness]\nattributes = ["area"]\n'
            '[orders]\npath = "orders.csv"\ncustomer_id = "customer_id"\nordered_at = "ordered_at"\namount = "amount"\n'
            '[customers]\npath = "people.csv"\ncustomer_id = "id"\narea = "Place"\n'
        )
        return read_records(source)

    return written


def people(share_north: float) -> dict[str, str]:
    draw = np.random.default_rng(0).random(700)
    place = np.where(draw < share_north, "North", np.where(draw < 0.9, "South", np.where(draw < 0.95, "Far", "")))
    return {f"c{number:04d}": str(word) for number, word in enumerate(place)}


def test_rare_words_and_unknown_ones_are_one_group(shop):
    records = shop(people(0.5))
    data = gather(records, records.as_of(), 28, needs_labels=True)
    words = groups(data)["area"]
    assert set(words) == {"North", "South", POOLED}
    known = attributes_of(records, data.holdout, ("area",)).set_index("customer_id")["area"]
    of_north = data.heldout["customer_id"].map(known) == "North"
    assert (words[of_north] == "North").all()
    assert (words == "North").sum() == of_north.sum()
    assert "area North" in parts_of(data)


def test_no_model_reads_an_attribute_and_the_run_holds_what_was_found(shop, home):
    """Other words for everybody change the finding and not one byte of the model."""
    results = []
    for words in (people(0.5), people(0.2)):
        records = shop(words)
        results += train(["churn"], records, records.as_of(), 28)
    first, second = results
    assert first.digest == second.digest
    assert first.report.fairness != second.report.fairness
    assert all(group.attribute == "area" for group in first.report.fairness.groups)
    client = Registry(settings().mlflow_uri)._client
    assert "parts/fairness.json" in {file.path for file in client.list_artifacts(first.run_id, "parts")}
