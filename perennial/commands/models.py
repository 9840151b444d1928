"""Commands about models: train, predict a table, judge at past instants, promote, roll back."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.definition import Definition
from perennial.commands.shared import (
    AsOfOption,
    HorizonOption,
    Language,
    LanguageOption,
    SourceOption,
    read,
    working,
)
from perennial.errors import SourceError

if TYPE_CHECKING:
    from training.labelled import Question


class Trainable(StrEnum):
    """What `train` fits."""

    ALL = "all"
    CHURN = "churn"
    CLV = "clv"
    SEGMENTS = "segments"


def train(
    what: Annotated[Trainable, typer.Argument(help="Which model.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="Source file (TOML) that maps your columns; or --table.")
    ] = None,
    as_of: AsOfOption = None,
    horizon_days: HorizonOption = 90,
    definition: Annotated[Definition, typer.Option(help="What churn means.")] = Definition.NO_PURCHASE,
    search_trials: Annotated[
        int, typer.Option(min=0, max=1000, help="Shapes of churn's trees to try; 0: the shipped one.")
    ] = 20,
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
        from training.labelled import Question

        question = Question(table, label, positive, id_column, tuple(exclude or ()), clv_column)
        _train_on_table(name, question, contact_cost, incentive_cost)
    elif source is None:
        raise SourceError("say what to learn from: --source S (records) or, for churn, --table F --label COLUMN")
    elif any((label, positive, id_column, exclude, name, clv_column)):
        raise SourceError("--label, --positive, --id, --exclude, --name and --clv-column belong to --table F")
    else:
        _train_on_records(what, source, as_of, horizon_days, definition, search_trials)


def _train_on_table(name: str, question: "Question", contact_cost: float, incentive_cost: float) -> None:
    from models.retention_offer import RetentionOffer
    from training.fit import train_table

    with working(f"Training {name} on {question.path} …") as say:
        offer = RetentionOffer(contact_cost, incentive_cost)
        typer.echo(train_table(name, question, offer, progress=say, command=_typed()).summary())


def _train_on_records(
    what: Trainable,
    source: Path,
    as_of: str | None,
    horizon_days: int,
    definition: Definition,
    search_trials: int,
) -> None:
    from training.fit import RECIPES
    from training.fit import train as train_models

    records = read(source)
    instant = records.as_of(as_of)
    with working(f"Training {what.value} as of {instant.day} …") as say:
        results = train_models(
            tuple(RECIPES) if what is Trainable.ALL else (what.value,),
            records,
            instant,
            horizon_days,
            definition=definition,
            search_trials=search_trials,
            progress=say,
            command=_typed() if as_of else f"{_typed()} --as-of {instant.day}",
        )
    for result in results:
        typer.echo(result.summary())


def _typed() -> str:
    """Return the command line that is running."""
    return shlex.join(["perennial", *sys.argv[1:]])


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

    with working(f"Scoring {table} …"):
        rows, notes = run(settings().shelf, name, table, output, language.value, value=value, cost=cost)
    for note in notes:
        typer.echo(f"  {note}")
    typer.echo(f"{rows:,} rows scored by {name} → {output}")


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

    records, config = read(source), settings()
    instant = records.as_of(as_of)
    with working(f"Backtest over {horizon_days} days …") as say:
        found = run(records, instant, horizon_days, config, origins=origins, progress=say)
        say("drawing customers again and again for the intervals")
        verdicts = judge(found, config.seed)
        command = f"perennial backtest --source {source} --as-of {as_of or instant.day} --horizon-days {horizon_days}"
        write_backtest(found, verdicts, output, f"{command} --origins {origins} --output {output}")
    typer.echo(f"{found.records}: {len(found.origins)} origins from {found.origins[0]} to {found.origins[-1]}")
    for title, family in (
        ("The better of BTYD and LightGBM alone", verdicts.against_better),
        ("Each alternative", verdicts.comparisons),
    ):
        typer.echo(f"{title}, verdicts Holm-corrected over these {len(family)} comparisons:")
        for comparison in family:
            typer.echo(f"  {comparison}")
    typer.echo("Intervals (95 %) are each comparison's own; a verdict must also hold among all of its list.")
    typer.echo(f"Page, figures and predictions → {output / PAGE}")


def promote(
    name: Annotated[str, typer.Argument(help="churn, clv, segments or a name of yours.")],
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
) -> None:
    """Make a registered version the champion that scoring and serving use."""
    from training.promote import promote as run

    typer.echo(run(name, version))


def rollback(name: Annotated[str, typer.Argument(help="churn, clv, segments or a name of yours.")]) -> None:
    """Return to the champion before this one."""
    from training.promote import rollback as run

    typer.echo(run(name))
