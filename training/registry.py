"""The only door to MLflow: runs, registered versions and their aliases.

MLflow is imported when a registry is first opened (it takes seconds) and kept quiet: its log lines, warnings and
progress bars are not for our users, and its telemetry is off.
"""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.errors import RegistryError

CHAMPION, CHALLENGER = "champion", "challenger"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A tracking server that is away is given up on in about ten seconds instead of minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # how MLflow says "no such name", "no such alias"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of a model: where its artefacts are and the facts it was registered with."""

    name: str
    number: int
    run_id: str
    source: str
    tags: Mapping[str, str]


class Registry:
    """MLflow's tracking and registry under one URI; artefacts of an SQLite registry lie beside it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with _translated(uri):
            self._client = _client(uri)

    @contextmanager
    def run(self, name: str, title: str, tags: Mapping[str, str]) -> Iterator["Run"]:
        """Open a run in the experiment ``name``; an error inside leaves it FAILED with the reason as a tag."""
        with _translated(self.uri):
            created = self._client.create_run(self._experiment(name), tags=dict(tags), run_name=title)
        run = Run(self._client, self.uri, created.info.run_id, created.info.artifact_uri)
        try:
            yield run
        except BaseException as error:
            with _translated(self.uri):
                self._client.set_tag(run.run_id, "failure", f"{type(error).__name__}: {error}"[:4000])
                self._client.set_terminated(run.run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        with _translated(self.uri):
            self._client.set_terminated(run.run_id, "FINISHED")

    def bury_dead_runs(self, name: str, tags: Mapping[str, str]) -> None:
        """Mark runs that are still open under these tags as killed: their process ended without a word."""
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        with _translated(self.uri):
            dead = self._client.search_runs([self._experiment(name)], f"attributes.status = 'RUNNING' and {where}")
            for run in dead:
                self._client.set_tag(run.info.run_id, "failure", "the process ended before the training did")
                self._client.set_terminated(run.info.run_id, "KILLED")

    def register(self, name: str, run: "Run", path: str, tags: Mapping[str, str], description: str) -> Version:
        """Register the artefact that ``run`` logged under ``path`` as the next version of ``name``."""
        with _translated(self.uri):
            if not self._client.search_registered_models(filter_string=f"name = '{name}'"):
                self._client.create_registered_model(name)
            made = self._client.create_model_version(
                name, source=f"{run.artefact_uri}/{path}", run_id=run.run_id, tags=dict(tags), description=description
            )
        return _version(made)

    def version(self, name: str, number: int | None = None) -> Version:
        """Return a registered version; None is the newest."""
        with _translated(self.uri):
            found = self._client.search_model_versions(f"name = '{name}'")
        if not found:
            raise RegistryError(
                f"no version of {name!r} is registered at {self.uri}; run `perennial train {name}` first"
            )
        versions = {int(version.version): _version(version) for version in found}
        number = max(versions) if number is None else number
        if number not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise RegistryError(f"{name!r} has no version {number}; registered versions are {known}")
        return versions[number]

    def alias(self, name: str, alias: str) -> Version | None:
        """Return the version an alias points to, or None."""
        with _translated(self.uri):
            try:
                return _version(self._client.get_model_version_by_alias(name, alias))
            except _mlflow().exceptions.MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise

    def set_alias(self, name: str, alias: str, number: int | None) -> None:
        """Point an alias at a version; None takes it away."""
        with _translated(self.uri):
            if number is not None:
                self._client.set_registered_model_alias(name, alias, str(number))
            elif self.alias(name, alias) is not None:
                self._client.delete_registered_model_alias(name, alias)

    def fetch(self, version: Version, directory: Path, beside: str | None = None) -> Path:
        """Copy a version's artefact folder, or the folder ``beside`` it in its run, under ``directory``."""
        source = version.source if beside is None else f"{version.source.rpartition('/')[0]}/{beside}"
        with _translated(self.uri):
            from mlflow.artifacts import download_artifacts

            return Path(download_artifacts(artifact_uri=source, dst_path=str(directory), tracking_uri=self.uri))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=_artefact_root(self.uri)))


@dataclass(frozen=True)
class Run:
    """One open MLflow run."""

    client: Any
    uri: str
    run_id: str
    artefact_uri: str

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log what the fit was asked for and what it found."""
        with _translated(self.uri):
            from mlflow.entities import Param

            self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags; ``mlflow.note.content`` is the text shown above the run."""
        with _translated(self.uri):
            for key, value in tags.items():
                self.client.set_tag(self.run_id, key, value)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log finite measures; a measure that is not a number has no place in a chart."""
        with _translated(self.uri):
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            finite = {key: float(value) for key, value in metrics.items() if abs(float(value)) < float("inf")}
            self.client.log_batch(self.run_id, metrics=[Metric(key, value, now, 0) for key, value in finite.items()])

    def log_dataset(self, name: str, digest: str, source: str, profile: str, context: str) -> None:
        """Log what was learned from or judged on; MLflow keeps 36 characters of the fingerprint."""
        with _translated(self.uri):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            dataset = Dataset(name, digest[:36], "local", source, None, profile)
            self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_model(self, path: str, directory: Path, kind: str, reads: Mapping[str, str], says: str) -> None:
        """Log an artefact's files, and beside them what MLflow shows as a model's signature.

        ``reads`` are the columns it reads (double, string), ``says`` the one it predicts. Readers of the artefact trust
        its manifest alone, so the further file changes nothing for them.
        """
        self.log_directory(path, directory)
        with _translated(self.uri), tempfile.TemporaryDirectory() as folder:
            from mlflow.models import Model, ModelSignature
            from mlflow.types.schema import ColSpec, Schema

            inputs = Schema([ColSpec(type, name, required=False) for name, type in reads.items()])
            signature = ModelSignature(inputs, Schema([ColSpec("double", says)]))
            flavours = {"perennial": {"kind": kind, "manifest": "manifest.json"}}
            described = Model(artifact_path=path, run_id=self.run_id, flavors=flavours, signature=signature)
            described.save(str(Path(folder) / "MLmodel"))
            self.log_directory(path, Path(folder))

    def log_files(self, path: str, files: Mapping[str, bytes]) -> None:
        """Log bytes as files of a folder of the run."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            self.log_directory(path, Path(folder))

    def log_directory(self, path: str, directory: Path) -> None:
        """Log a folder's files as they are."""
        with _translated(self.uri):
            self.client.log_artifacts(self.run_id, str(directory), path)


def _version(version: Any) -> Version:
    return Version(version.name, int(version.version), version.run_id, version.source, dict(version.tags))


def _client(uri: str) -> Any:
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    client = _mlflow().MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)  # opens the database (and makes a new one: about two seconds)
    return client


def _artefact_root(uri: str) -> str | None:
    """Return where runs keep their files: beside an SQLite database, else wherever the server says."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).parent / "mlruns").resolve().as_uri()


def _mlflow() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return mlflow


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Keep MLflow's warnings to itself and turn its errors, and its database's and network's, into ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except _its_errors() as error:
            first_line = str(error).strip().partition("\n")[0]
            raise RegistryError(
                f"the model registry at {uri} did not do what was asked ({first_line}); "
                "see that it can be reached and written to, then run the command again"
            ) from error


def _its_errors() -> tuple[type[Exception], ...]:
    """Return what MLflow raises, or lets through from its database, its files and its network (an OSError, too)."""
    from sqlalchemy.exc import SQLAlchemyError

    return (_mlflow().exceptions.MlflowException, SQLAlchemyError, OSError)
