"""An attribute of the business's own, from a source file to the action that a playbook gives for it."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.company import generate
from benchmarks.trained import put_on_shelf
from features.sources import read_records
from perennial.errors import PlaybookError
from perennial.settings import Settings
from serving.batch import read_scores, score_to
from serving.decisions.arbitration import propose
from serving.decisions.playbook import describe, load_playbook
from tests.serving.customers import AS_OF, customers
from tests.serving.test_playbook import SHIPPED

SOURCE = """
currency = "EUR"
timezone = "UTC"
consent_default = "allow"
[economics]
margin_rate = 0.4
[orders]
path = "orders.csv"
customer_id = "customer_id"
ordered_at = "ordered_at"
order_id = "order_id"
amount = "amount"
[customers]
path = "people.csv"
customer_id = "id"
income = "Income band"
"""
ACTION = """
[actions.private_sale]
kind = "service"
channels = ["email"]
content = "value"
cooldown_days = 30
[actions.private_sale.when]
orders = { at_least = 2 }
attributes = { income = ["high", "very high"] }
[actions.private_sale.effect]
relative_churn_reduction = 0.05
relative_spend_lift = 0.05
evidence = "assumed"
source = "illustrative"
[actions.private_sale.title]
en = "Private sale"
zh = "专场"
[actions.private_sale.reason]
en = "Invited"
zh = "受邀"
"""


def playbook(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "playbook.toml"
    path.write_text(SHIPPED[: SHIPPED.index("[actions.complaint_call]")] + ACTION.replace(old, new), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a shop's files, its source file and its models are."""
    folder = tmp_path_factory.mktemp("shop")
    orders = generate(600, days=400, seed=3).tables["orders"]
    orders.to_csv(folder / "orders.csv", index=False)
    ids = sorted(orders["customer_id"].unique())
    bands = ["high", "low", "very high", "High", None]
    people = pd.DataFrame({"id": ids, "Income band": [bands[place % 5] for place in range(len(ids))]})
    people[people["id"] != ids[0]].to_csv(folder / "people.csv", index=False)
    (folder / "source.toml").write_text(SOURCE)
    put_on_shelf(folder / "models", read_records(folder / "source.toml"))
    return folder


def scored(folder: Path, book: Path) -> pd.DataFrame:
    records = read_records(folder / "source.toml")
    score_to(folder / "scores", records, records.as_of(), "en", Settings(home=folder, playbook=book))
    return read_scores(folder / "scores").scores.set_index("customer_id")


def test_who_gets_an_action_is_decided_by_the_attribute(folder: Path, tmp_path: Path) -> None:
    scores = scored(folder, playbook(tmp_path))
    band = pd.read_csv(folder / "people.csv", dtype="str").set_index("id")["Income band"].reindex(scores.index)
    asked = band.isin(["high", "very high"])  # to the letter: "High" is another word, and unknown is none
    repeated = scored(folder, playbook(tmp_path, "attributes =", "#"))["action_id"] == "private_sale"
    pd.testing.assert_series_equal(scores["action_id"] == "private_sale", asked & repeated, check_names=False)
    assert (asked & repeated).sum() > 50
    assert (~asked & repeated).sum() > 50


def test_an_attribute_that_no_source_carries_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PlaybookError, match=r"\[actions\.private_sale\.when\.attributes\] incom: .*did you mean 'income'"
    ):
        scored(folder, playbook(tmp_path, "income =", "incom ="))


def test_of_customers_sent_along_no_attribute_is_known(tmp_path: Path) -> None:
    chosen = propose(customers({}, {"income": "high"}), load_playbook(playbook(tmp_path)), AS_OF, "en")["action_id"]
    assert list(chosen) == ["do_nothing", "private_sale"]
    unknown = propose(customers({}), load_playbook(playbook(tmp_path)), AS_OF, "en")["action_id"]
    assert list(unknown) == ["do_nothing"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{ income = [] }", r"attributes\] income = \[\]: expected a list of texts"),
        ("{ income = [3] }", r"attributes\] income = \[3\]: expected a list of texts"),
        ('{ segment = ["gold"] }', "attributes\\] segment .*this is a score"),
        ('["high"]', "attributes = .*expected a table"),
    ],
)
def test_a_mistaken_condition_is_named(tmp_path: Path, wrong: str, message: str) -> None:
    with pytest.raises(PlaybookError, match=message):
        load_playbook(playbook(tmp_path, '{ income = ["high", "very high"] }', wrong))


def test_a_playbook_says_which_attributes_it_asks_for(tmp_path: Path) -> None:
    assert "attributes.income is high or very high" in describe(load_playbook(playbook(tmp_path)))[-1]
