"""Commands about records: draft a source file, check what it names, write features."""

from pathlib import Path
from typing import Annotated

import typer

from perennial.commands.shared import (
    AsOfOption,
    Engine,
    EngineOption,
    HorizonOption,
    SourceOption,
    on_engine,
    read,
    working,
)
from perennial.errors import OutputError
from perennial.files import replacing


def init(
    files: Annotated[list[Path], typer.Argument(help="Your files: CSV, CSV.gz or Parquet.")],
    output: Annotated[Path, typer.Option(help="Source file (TOML) to write; an existing one is never replaced.")],
) -> None:
    """Draft a source file by looking at your files: which table each is, which column is which."""
    from features.drafting import draft

    if output.exists():
        raise OutputError(f"{output} exists already and stays as it is; name another --output or move it away")
    with working(f"Looking at {len(files)} {'file' if len(files) == 1 else 'files'} …") as say:
        drafted = draft(files, output, say)
        try:
            with replacing(output) as partial:
                partial.write_text(drafted.text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{output} could not be written ({error.strerror or error})") from None
    typer.echo("\n".join([*drafted.summary, f"Draft → {output}", ""]))
    typer.echo(f"Next: look at the {drafted.to_decide} lines marked CHECK or DECIDE in {output}, then")
    typer.echo(f"  perennial check --source {output}")


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

    with working(f"Reading and checking the records named in {source} …"):
        found = checking.check(source, horizon_days)
        written = write(found, output or checking.default_folder(source))
    checking.show(found, written)
    if found.readiness is None:
        raise typer.Exit(1)


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
    records = read(source)
    instant = records.as_of(as_of)
    with working(f"Building features as of {instant.day} …"):
        if engine is Engine.DUCKDB:
            kept = SnapshotStore(settings().snapshots).snapshot(records, instant)
            snapshot, computed = kept.snapshot, kept.computed
        else:
            with on_engine(engine, records) as moved:
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
