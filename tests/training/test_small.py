"""Half a year of some five hundred customers is enough to begin with; of fewer MBG/NBD alone speaks, and it is said."""

import pytest

from perennial.settings import Settings
from training.churn_recipe import ChurnRecipe
from training.dataset import gather


@pytest.mark.parametrize(("customers", "boosted", "grade"), [(575, True, "C"), (113, False, "D")])
def test_little_is_learned_from_as_far_as_it_goes(from_lines, simulate, customers: int, boosted: bool, grade: str):
    newcomers = {575: 65, 113: 7}[customers]  # first seen after the newest training cutoff
    records = from_lines(simulate(customers + newcomers, 180))
    data = gather(records, records.as_of(), 28, needs_labels=True)
    recipe = ChurnRecipe(Settings(threads=1), trials=2)
    model = recipe.fit(data, final=False)
    report = recipe.report(model, data, recipe.predict(model, data.heldout, data))
    assert (model.facts_.boosted, model.grade_) == (boosted, grade)
    assert report.metrics["auc"].low > 0.75
    assert report.notes[0].startswith(f"data grade {grade}: {customers} customers over 152 days")
    assert ("MBG/NBD stands alone" in report.notes[0]) is not boosted
