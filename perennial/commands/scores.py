"""Commands about scores: the demo, score files, the report, the service, keys and the playbook."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perennial.commands.shared import (
    AsOfOption,
    Engine,
    EngineOption,
    Language,
    LanguageOption,
    SourceOption,
    on_engine,
    read,
    working,
)


class Dataset(StrEnum):
    """Real records that come with the installation."""

    COMPLETE_JOURNEY = "complete-journey"
    CDNOW = "cdnow"


def demo(
    dataset: Annotated[Dataset, typer.Option(help="Which shipped records.")] = Dataset.COMPLETE_JOURNEY,
    output: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo"),
    language: LanguageOption = Language.EN,
) -> None:
    """Run the whole loop on shipped real records, then say how to look at the results."""
    from perennial.demo import run

    run(dataset.value, output, language.value)


def score(
    source: SourceOption,
    output: Annotated[Path, typer.Option(help="Folder for the score files.")],
    as_of: AsOfOption = None,
    language: LanguageOption = Language.EN,
    engine: EngineOption = Engine.DUCKDB,
    capacity: Annotated[
        int | None, typer.Option(min=1, help="How many customers your staff can call: the early warning holds no more.")
    ] = None,
) -> None:
    """Score every customer, propose the next best action, write the files and load the serving store."""
    from perennial.settings import settings
    from serving.batch import read_scores, score_to

    records = read(source)
    instant = records.as_of(as_of)
    with working("Scoring …"), on_engine(engine, records) as moved:
        manifest = score_to(output, moved, instant, language.value, settings(), capacity=capacity)
        scores = read_scores(output).scores
    typer.echo(f"{manifest.customers:,} customers scored as of {manifest.as_of:%Y-%m-%d} → {output}")
    held_back = scores["suppressed_by"].value_counts()
    counts = ", ".join(f"{count:,} {code}" for code, count in held_back.items())
    acting = (scores["action_id"] != "do_nothing").sum()
    typer.echo(f"{acting:,} have a next action; a better one, or the only one, is held back: {counts or 'nowhere'}")
    if held_back.get("no_consent", 0) > len(scores) / 2:
        typer.echo(
            "Most customers have not consented: map a [consents] table, or say "
            'consent_default = "allow" in the source file if you may contact them.'
        )


def report(
    scores: Annotated[Path, typer.Option(help="Folder that `score` wrote.")],
    output: Annotated[Path, typer.Option(help="HTML file; opens without a network.")],
    language: LanguageOption = Language.EN,
) -> None:
    """Write one HTML file with pictures from a folder of score files."""
    from serving.report import write_report

    with working("Drawing the report …"):
        written = write_report(scores, output, language.value)
    typer.echo(f"Report → {output}")
    if written != language.value:
        typer.echo(
            f"Reasons are in the language of the scores; for others: perennial score --language {language.value}"
        )


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 3000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
) -> None:
    """Serve scores, profiles and next best actions over HTTP."""
    from serving.server import run

    run(host, port, workers)


def keys_add(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated: score, events, admin, erase.")] = "score",
) -> None:
    """Make an API key; it is shown once and kept only as a hash."""
    from perennial.settings import settings
    from serving.store import Store

    typer.echo(Store(settings().store_url).add_key(name, scopes.split(",")))


def playbook_check(
    file: Annotated[Path | None, typer.Argument(help="Playbook (TOML); default: the shipped one.")] = None,
) -> None:
    """Validate a playbook and say in words what it does."""
    from serving.decisions.playbook import describe, load_playbook

    typer.echo("\n".join(describe(load_playbook(file))))
