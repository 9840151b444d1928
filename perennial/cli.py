"""The one command. Each subcommand imports what it needs when it runs, so that help stays instant."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perennial.errors import OutputError, PerennialError, SourceError
from perennial.files import replacing

if TYPE_CHECKING:
    from features.records import Records

app = typer.Typer(
    name="perennial",
    help="How likely each customer is to leave, what each is worth, and what to do next.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys_app = typer.Typer(help="Keys for the API.", no_args_is_help=True)
playbook_app = typer.Typer(help="The marketer's catalogue of actions.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(playbook_app, name="playbook")


class Dataset(StrEnum):
    """Real records that come with the installation."""

    COMPLETE_JOURNEY = "complete-journey"
    CDNOW = "cdnow"


class Language(StrEnum):
    """Language of the texts in files and reports; codes are never translated."""

    EN = "en"
    ZH = "zh"


class Engine(StrEnum):
    """What computes features and scores; the numbers are the same."""

    DUCKDB = "duckdb"
    SPARK = "spark"


class Trainable(StrEnum):
    """What `train` fits."""

    ALL = "all"
    CHURN = "churn"
    CLV = "clv"
    SEGMENTS = "segments"


SourceOption = Annotated[Path, typer.Option("--source", help="Source file (TOML) that maps your columns.")]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", help="Look from the first instant of this day; default: the day after the last order."),
]
HorizonOption = Annotated[
    int, typer.Option("--horizon-days", min=1, max=1095, help="Churn: no purchase within so many days.")
]
EngineOption = Annotated[
    Engine, typer.Option("--engine", help="duckdb: this process. spark: the Spark that its own configuration names.")
]
LanguageOption = Annotated[Language, typer.Option("--language", help="Language of the texts.")]


@contextmanager
def _working(message: str) -> Iterator[Callable[[str], None]]:
    """Show a moving line on a terminal while something takes its time, with news of it; nothing in a pipe."""
    from rich.console import Console

    with Console(stderr=True).status(message) as status:
        yield lambda news: status.update(f"{message} {news}")


def _records(source: Path) -> "Records":
    from features.sources import read_records

    with _working(f"Reading the records named in {source} …"):
        return read_records(source)


@contextmanager
def _on(engine: Engine, records: "Records") -> Iterator["Records"]:
    """Yield the records with the engine that shall compute on them."""
    if engine is Engine.DUCKDB:
        yield records
        return
    from features.spark import on_spark
    from perennial.settings import settings

    with on_spark(records, settings().home) as moved:
        yield moved


@app.command()
def demo(
    dataset: Annotated[Dataset, typer.Option(help="Which shipped records.")] = Dataset.COMPLETE_JOURNEY,
    output: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo"),
    language: LanguageOption = Language.EN,
) -> None:
    """Run the whole loop on shipped real records, then say how to look at the results."""
    from perennial.demo import run

    run(dataset.value, output, language.value)


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(help="Your files: CSV, CSV.gz or Parquet.")],
    output: Annotated[Path, typer.Option(help="Source file (TOML) to write; an existing one is never replaced.")],
) -> None:
    """Draft a source file by looking at your files: which table each is, which column is which."""
    from features.drafting import draft

    if output.exists():
        raise OutputError(f"{output} exists already and stays as it is; name another --output or move it away")
    with _working(f"Looking at {len(files)} {'file' if len(files) == 1 else 'files'} …") as say:
        drafted = draft(files, output, say)
        try:
            with replacing(output) as partial:
                partial.write_text(drafted.text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{output} could not be written ({error.strerror or error})") from None
    typer.echo("\n".join([*drafted.summary, f"Draft → {output}", ""]))
    typer.echo(f"Next: look at the {drafted.to_decide} lines marked CHECK or DECIDE in {output}, then")
    typer.echo(f"  perennial check --source {output}")


@app.command()
def check(
    source: SourceOption,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the report and the rows set aside; default: SOURCE-check beside it.")
    ] = None,
    horizon_days: HorizonOption = 90,
) -> None:
    """Say how usable the records are: what was set aside and why, what looks wrong, whether there is enough."""
    from perennial import check as checking
    from perennial.check_files import write

    with _working(f"Reading and checking the records named in {source} …"):
        found = checking.check(source, horizon_days)
        written = write(found, output or checking.default_folder(source))
    checking.show(found, written)
    if found.readiness is None:
        raise typer.Exit(1)


@app.command()
def features(
    source: SourceOption,
    output: Annotated[Path, typer.Option(help="Parquet file.")],
    as_of: AsOfOption = None,
    engine: EngineOption = Engine.DUCKDB,
) -> None:
    """Write the snapshot: one row of behavioural features per customer at an instant.

    It is kept in the home as well; asked for again, only customers whose past has changed are computed.
    """
    from features.snapshot import build_snapshot
    from features.store import SnapshotStore
    from perennial.settings import settings

    if output.is_dir() or not output.name:
        raise OutputError(f"{output} is a folder; --output is the Parquet file to write")
    records = _records(source)
    instant = records.as_of(as_of)
    with _working(f"Building features as of {instant.day} …"):
        if engine is Engine.DUCKDB:
            kept = SnapshotStore(settings().snapshots).snapshot(records, instant)
            snapshot, computed = kept.snapshot, kept.computed
        else:
            with _on(engine, records) as moved:
                snapshot = build_snapshot(moved, instant)
            computed = len(snapshot)
        try:
            with replacing(output) as partial:
                snapshot.to_parquet(partial, index=False)
        except OSError as error:
            raise OutputError(f"{output} could not be written ({error}); nothing there was changed") from error
    typer.echo(f"{len(snapshot):,} customers × {snapshot.shape[1] - 2} features as of {instant.day} → {output}")
    if computed < len(snapshot):
        typer.echo(f"{computed:,} customers computed; the rows of the others were kept from an earlier run")


@app.command()
def train(
    what: Annotated[Trainable, typer.Argument(help="Which model.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="Source file (TOML) that maps your columns; or --table.")
    ] = None,
    as_of: AsOfOption = None,
    horizon_days: HorizonOption = 90,
    table: Annotated[Path | None, typer.Option(help="Churn of a labelled table instead (CSV, Parquet).")] = None,
    label: Annotated[str | None, typer.Option(help="--table: column that says who churned.")] = None,
    positive: Annotated[str | None, typer.Option(help="--table: its value for churned; default: a plain yes.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="--table: column that names the customer.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="--table: column not to learn from; give it again for more.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="--table: the model's name from now on.")] = None,
    clv_column: Annotated[str | None, typer.Option(help="--table: what each customer is worth if kept.")] = None,
    contact_cost: Annotated[float, typer.Option(min=0, help="--table: cost of contacting one customer.")] = 1.0,
    incentive_cost: Annotated[float, typer.Option(min=0, help="--table: cost of an accepted offer.")] = 10.0,
) -> None:
    """Fit, judge on later records or rows left out, and register; a first or better version becomes champion."""
    if table is not None:
        if what is not Trainable.CHURN or source is not None:
            raise SourceError("--table trains churn, without --source: perennial train churn --table F …")
        if label is None or name is None:
            raise SourceError(f"--table needs {'--label COLUMN' if label is None else '--name NAME'}")
        from models.retention_offer import RetentionOffer
        from training.fit import train_table
        from training.labelled import Question

        question = Question(table, label, positive, id_column, tuple(exclude or ()), clv_column)
        with _working(f"Training {name} on {table} …") as say:
            typer.echo(
                train_table(name, question, RetentionOffer(contact_cost, incentive_cost), progress=say).summary()
            )
        return
    if source is None:
        raise SourceError("say what to learn from: --source S (records) or, for churn, --table F --label COLUMN")
    if any((label, positive, id_column, exclude, name, clv_column)):
        raise SourceError("--label, --positive, --id, --exclude, --name and --clv-column belong to --table F")
    from training.fit import RECIPES
    from training.fit import train as train_models

    records = _records(source)
    instant = records.as_of(as_of)
    with _working(f"Training {what.value} as of {instant.day} …") as say:
        names = tuple(RECIPES) if what is Trainable.ALL else (what.value,)
        results = train_models(names, records, instant, horizon_days, progress=say)
    for result in results:
        typer.echo(result.summary())


@app.command()
def predict(
    name: Annotated[str, typer.Argument(help="Model trained with --table.")],
    table: Annotated[Path, typer.Option(help="Rows to score (CSV, Parquet) with the columns of the training table.")],
    output: Annotated[Path, typer.Option(help="Parquet file.")],
    value: Annotated[float | None, typer.Option(min=0, help="What keeping a customer is worth.")] = None,
    cost: Annotated[float | None, typer.Option(min=0, help="What an accepted offer costs.")] = None,
    language: LanguageOption = Language.EN,
) -> None:
    """Score every row of a table: churn probability, band and reasons; with a value, whom contacting pays for."""
    from perennial.settings import settings
    from serving.predictions import predict as run

    with _working(f"Scoring {table} …"):
        rows, notes = run(settings().shelf, name, table, output, language.value, value=value, cost=cost)
    for note in notes:
        typer.echo(f"  {note}")
    typer.echo(f"{rows:,} rows scored by {name} → {output}")


@app.command()
def backtest(
    source: SourceOption,
    output: Annotated[Path, typer.Option(help="Folder for the page, the figures and every prediction.")],
    as_of: AsOfOption = None,
    horizon_days: HorizonOption = 90,
    origins: Annotated[int, typer.Option(min=1, max=60, help="How many past instants to look from.")] = 6,
) -> None:
    """Judge every model, and the simple rules, at past instants against what came next."""
    from perennial.settings import settings
    from training.backtest import backtest as run
    from training.backtest_files import PAGE, write_backtest
    from training.verdicts import judge

    records, config = _records(source), settings()
    with _working(f"Backtest over {horizon_days} days …") as say:
        found = run(records, records.as_of(as_of), horizon_days, config, origins=origins, progress=say)
        say("drawing customers again and again for the intervals")
        verdicts = judge(found, config.seed)
        write_backtest(found, verdicts, output, f"perennial backtest --source {source} --horizon-days {horizon_days}")
    typer.echo(f"{found.records}: {len(found.origins)} origins from {found.origins[0]} to {found.origins[-1]}")
    for comparison in verdicts.comparisons:
        typer.echo(f"  {comparison}")
    typer.echo(f"Page, figures and predictions → {output / PAGE}")


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="churn, clv, segments or a name of yours.")],
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
) -> None:
    """Make a registered version the champion that scoring and serving use."""
    from training.promote import promote as run

    typer.echo(run(name, version))


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="churn, clv, segments or a name of yours.")]) -> None:
    """Return to the champion before this one."""
    from training.promote import rollback as run

    typer.echo(run(name))


@app.command()
def score(
    source: SourceOption,
    output: Annotated[Path, typer.Option(help="Folder for the score files.")],
    as_of: AsOfOption = None,
    language: LanguageOption = Language.EN,
    engine: EngineOption = Engine.DUCKDB,
) -> None:
    """Score every customer, propose the next best action, write the files and load the serving store."""
    from perennial.settings import settings
    from serving.batch import read_scores, score_to

    records = _records(source)
    instant = records.as_of(as_of)
    with _working("Scoring …"), _on(engine, records) as moved:
        manifest = score_to(output, moved, instant, language.value, settings())
        scores = read_scores(output).scores
    typer.echo(f"{manifest.customers:,} customers scored as of {manifest.as_of:%Y-%m-%d} → {output}")
    held_back = scores["suppressed_by"].value_counts()
    counts = ", ".join(f"{count:,} {code}" for code, count in held_back.items())
    typer.echo(f"{(scores['action_id'] != 'do_nothing').sum():,} have a next action; held back: {counts or 'nobody'}")
    if held_back.get("no_consent", 0) > len(scores) / 2:
        typer.echo(
            "Most customers have not consented: map a [consents] table, or say "
            'consent_default = "allow" in the source file if you may contact them.'
        )


@app.command()
def report(
    scores: Annotated[Path, typer.Option(help="Folder that `score` wrote.")],
    output: Annotated[Path, typer.Option(help="HTML file; opens without a network.")],
    language: LanguageOption = Language.EN,
) -> None:
    """Write one HTML file with pictures from a folder of score files."""
    from serving.report import write_report

    with _working("Drawing the report …"):
        write_report(scores, output, language.value)
    typer.echo(f"Report → {output}")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 3000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
) -> None:
    """Serve scores, profiles and next best actions over HTTP."""
    from serving.server import run

    run(host, port, workers)


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated: score, events, admin, erase.")] = "score",
) -> None:
    """Make an API key; it is shown once and kept only as a hash."""
    from perennial.settings import settings
    from serving.store import Store

    typer.echo(Store(settings().store_url).add_key(name, scopes.split(",")))


@playbook_app.command("check")
def playbook_check(
    file: Annotated[Path | None, typer.Argument(help="Playbook (TOML); default: the shipped one.")] = None,
) -> None:
    """Validate a playbook and say in words what it does."""
    from serving.decisions.playbook import describe, load_playbook

    typer.echo("\n".join(describe(load_playbook(file))))


def main() -> None:
    """Run the command line; a known error is one line on stderr and exit code 1."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        app()
    except PerennialError as error:
        typer.echo(f"perennial: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB answers Ctrl-C with an error of its own
        if isinstance(error, RuntimeError) and "interrupt" not in str(error).lower():
            raise
        sys.exit(130)


if __name__ == "__main__":
    main()
