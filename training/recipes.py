"""What one kind of model needs to be trained: how it is fitted and judged. The jobs in `training.fit` do the rest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import pandas as pd

from models.artefact import Artefact
from models.reference import Reference
from models.sufficiency import Sufficiency
from perennial.settings import Settings
from training.dataset import Data, LabelUse, Used
from training.fairness import Fairness
from training.metrics import Comparison, Floats, Interval
from training.parts import Mask, parts_of
from training.promote import JUDGED_PATH
from training.slices import Slice, slices_to_json

Model = TypeVar("Model")
Reader = Callable[[str | None], Artefact]


class Material(Protocol):
    """What one training goes by: rows to learn from and rows to be judged on."""

    @property
    def title(self) -> str:
        """What was learned from, as part of a run's name."""

    @property
    def tags(self) -> dict[str, str]:
        """What runs and versions are found by."""

    @property
    def source(self) -> str:
        """Name of the records or the file."""

    @property
    def judged_on(self) -> str:
        """Say which customers the recipe is judged on."""

    @property
    def customers(self) -> int:
        """How many they are."""

    @property
    def heldout(self) -> pd.DataFrame:
        """Rows the recipe is judged on."""

    @property
    def latest(self) -> pd.DataFrame:
        """Rows that the final fit must be able to tell apart."""

    def used(self, labels: LabelUse) -> dict[str, Used]:
        """Return what is learned from and judged on, by context."""

    def described(self) -> dict[str, str]:
        """Say for people what is learned from."""

    def about(self) -> dict[str, Any]:
        """Return facts for the artefact, in plain JSON."""

    def closed(self, *, final: bool) -> dict[str, str]:
        """Return until when a fit knows the world, where there is such an instant."""


Ground = TypeVar("Ground", bound=Material)


class _Reading(Protocol):
    """A model that knows which columns of a snapshot it reads."""

    @property
    def inputs(self) -> Sequence[str]:
        """Their names."""


@dataclass(frozen=True)
class Report:
    """What the hold-out said about a recipe.

    ``notes`` are for people; ``suspects`` name what may have told the outcome beforehand: a version that has some
    never replaces a champion that has none. ``slices`` and ``fairness`` say whether the probability holds for every
    kind of customer and serves every group alike.
    """

    metrics: Mapping[str, Interval]
    comparisons: tuple[Comparison, ...]
    pictures: Mapping[str, bytes]
    notes: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    fairness: Fairness | None = None

    def parts(self) -> Mapping[str, bytes]:
        """Return what was found of kinds and groups of customers as files, by name."""
        slices = {"slices.json": slices_to_json(self.slices)} if self.slices else {}
        return slices | ({"fairness.json": self.fairness.to_json()} if self.fairness else {})


class Recipe(ABC, Generic[Model, Ground]):
    """One kind of model.

    ``name`` is the model's in the registry and on the shelf, ``kind`` its artefact's. ``ranking`` is the metric that
    must beat ``chance`` for a version to serve, ``gated_by`` the measures on which it may not be worse than the
    champion, ``parts_gated_by`` the one on which it may not be worse for any large part of the customers, None where
    parts are not looked at, ``says`` the name of what it predicts, ``labels`` whether it can be fitted without closed
    windows.
    """

    name: str
    ranking: ClassVar[str]
    chance: ClassVar[float]
    gated_by: ClassVar[tuple[str, ...]]
    says: ClassVar[str]
    parts_gated_by: ClassVar[str | None] = None
    labels: ClassVar[LabelUse]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def kind(self) -> str:
        """Kind of the artefact; models of several names may share one."""
        return self.name

    @abstractmethod
    def fit(self, data: Ground, *, final: bool) -> Model:
        """Fit with what was known at the hold-out, or finally with everything."""

    @abstractmethod
    def files(self, model: Model) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""

    @abstractmethod
    def load(self, files: Mapping[str, bytes]) -> Model:
        """Read a fitted model."""

    @abstractmethod
    def predict(self, model: Model, rows: pd.DataFrame, data: Ground) -> Floats:
        """Return the prediction that is judged (n_rows,)."""

    @abstractmethod
    def outcome(self, data: Ground) -> Floats:
        """Return what came of the rows it is judged on (n_rows,)."""

    @abstractmethod
    def report(self, model: Model, data: Ground, prediction: Floats) -> Report:
        """Judge the recipe on the hold-out."""

    def trail(self) -> Mapping[str, bytes]:
        """Return files that say how the judged fit came about, by name, for the run."""
        return {}

    @abstractmethod
    def facts(self, model: Model, data: Ground) -> dict[str, Any]:
        """Return what else a reader of the artefact should know, in plain JSON."""

    def reference(self, model: Model, data: Ground) -> Reference | None:
        """Describe inputs and scores of the final fit, for what comes later to be compared with; None: nothing is."""
        return None

    def reads(self, model: Model) -> Mapping[str, str]:
        """Return the columns the model reads and whether each is a number (double) or a text (string)."""
        return dict.fromkeys(cast("_Reading", model).inputs, "double")

    def leans_on(self, model: Model, known: Reference | None, data: Ground) -> Mapping[str, float]:
        """Return each feature's share in what moves the predictions of the final fit; empty where nobody measured."""
        return {name: kept.weight for name, kept in known.features.items()} if known else {}

    def sufficiency(self, model: Model, data: Ground) -> Sufficiency | None:
        """Grade what the final fit had to learn from; None where there is no such grade."""
        return None

    def parts(self, data: Ground) -> Mapping[str, Mask]:
        """Return who of the judged rows belongs to each part that is large enough to be judged alone (n_rows,)."""
        return {}

    def customer(self, data: Ground) -> Sequence[Hashable] | None:
        """Return whose each judged row is (n_rows,), where customers have several."""
        return None

    @abstractmethod
    def champion_prediction(self, read: Reader, data: Ground) -> Floats | str:
        """Predict the judged rows with the champion as it was before it knew them, or say why that cannot be.

        ``read`` returns the champion's artefact, or the one beside it in its run.
        """


class RecordsRecipe(Recipe[Model, Data]):
    """A model of the records: fitted at past cutoffs and judged on the customers of a later one."""

    def parts(self, data: Data) -> Mapping[str, Mask]:
        """Return the judged customers by value tier and lifecycle stage, and by the attributes named for fairness."""
        return parts_of(data)

    def champion_prediction(self, read: Reader, data: Data) -> Floats | str:
        """Judge the champion on the same customers.

        A champion that has already learned from the hold-out would be judged on its own lessons; then the fit that was
        judged before it was registered stands in for it.
        """
        for beside in (None, JUDGED_PATH):
            artefact = read(beside)
            objection = self.objection(artefact, data)
            if objection is not None:
                return objection
            if datetime.fromisoformat(artefact.meta["closed_until"]) <= data.holdout.instant:
                return self.predict(self.load(artefact.files), data.heldout, data)
        return f"the champion has learned from records after {data.holdout.day}, so no comparison is fair"

    def objection(self, champion: Artefact, data: Data) -> str | None:
        """Say why a champion answers another question than this training, or None when it does not."""
        return None
