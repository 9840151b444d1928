"""What several commands share: options said in one way, a moving line, records read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from features.records import Records


class Language(StrEnum):
    """Language of the texts in files and reports; codes are never translated."""

    EN = "en"
    ZH = "zh"


class Engine(StrEnum):
    """What computes features and scores; the numbers are the same."""

    DUCKDB = "duckdb"
    SPARK = "spark"


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
def working(message: str) -> Iterator[Callable[[str], None]]:
    """Show a moving line on a terminal while something takes its time, with news of it; nothing in a pipe."""
    from rich.console import Console

    with Console(stderr=True).status(message) as status:
        yield lambda news: status.update(f"{message} {news}")


def read(source: Path) -> "Records":
    """Read and validate the records a source file names."""
    from features.sources import read_records

    with working(f"Reading the records named in {source} …"):
        return read_records(source)


@contextmanager
def on_engine(engine: Engine, records: "Records") -> Iterator["Records"]:
    """Yield the records with the engine that shall compute on them."""
    if engine is Engine.DUCKDB:
        yield records
        return
    from features.spark import on_spark
    from perennial.settings import settings

    with on_spark(records, settings().home) as moved:
        yield moved
