"""What one kind of model needs to be trained: how it is fitted and judged. The jobs in `training.fit` do the rest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import pandas as pd

from models.artefact import Artefact
from perennial.settings import Settings
from training.dataset import Data
from training.metrics import Comparison, Floats, Interval

Model = TypeVar("Model")


@dataclass(frozen=True)
class Report:
    """What the hold-out said about a recipe."""

    metrics: Mapping[str, Interval]
    comparisons: tuple[Comparison, ...]
    pictures: Mapping[str, bytes]


class Recipe(ABC, Generic[Model]):
    """One kind of model.

    ``ranking`` is the metric that must beat ``chance`` for a version to serve, ``gated_by`` the measures on
    which it may not be worse than the champion.
    """

    name: ClassVar[str]
    ranking: ClassVar[str]
    chance: ClassVar[float]
    gated_by: ClassVar[tuple[str, ...]]
    fits_on_labels: ClassVar[bool]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def fit(self, data: Data, *, final: bool) -> Model:
        """Fit with what was known at the hold-out, or finally with everything."""

    @abstractmethod
    def files(self, model: Model) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""

    @abstractmethod
    def load(self, files: Mapping[str, bytes]) -> Model:
        """Read a fitted model."""

    @abstractmethod
    def predict(self, model: Model, rows: pd.DataFrame, horizon_days: int) -> Floats:
        """Return the prediction that is judged (n_rows,)."""

    @abstractmethod
    def outcome(self, rows: pd.DataFrame) -> Floats:
        """Return what came of it (n_rows,)."""

    @abstractmethod
    def report(self, model: Model, data: Data, prediction: Floats) -> Report:
        """Judge the recipe on the hold-out."""

    @abstractmethod
    def facts(self, model: Model, data: Data) -> dict[str, Any]:
        """Return what else a reader of the artefact should know, in plain JSON."""

    def objection(self, champion: Artefact, horizon_days: int) -> str | None:
        """Say why a champion answers another question than this training, or None when it does not."""
        return None
