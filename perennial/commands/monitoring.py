"""The command that looks whether what serves is still to be trusted."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from perennial.commands.shared import AsOfOption, Language, LanguageOption, SourceOption, read, working

ALERT_EXIT_CODE = 3


def monitor(
    source: SourceOption,
    output: Annotated[Path, typer.Option(help="Folder for the page, monitor.json and monitor.prom (Prometheus).")],
    as_of: AsOfOption = None,
    language: LanguageOption = Language.EN,
) -> None:
    """Look whether the champions are still to be trusted: drift, earlier scores against what came, age, skew.

    Staleness is counted up to now, or up to --as-of. Exit code 0: fine, or worth a look; 3: something asks for action.
    """
    from perennial.settings import settings
    from training.health import Status
    from training.monitor import monitor as run
    from training.monitor_files import PAGE, sentence, write_monitor

    records = read(source)
    instant = records.as_of(as_of)
    with working(f"Monitoring as of {instant.day} …") as say:
        found = run(records, instant, instant.instant if as_of else datetime.now(UTC), settings(), progress=say)
        write_monitor(found, output, language.value)
    for check in found.checks:
        typer.echo(f"{check.status.word:>8}  {sentence(check, language.value)}")
    typer.echo(f"{found.status.word:>8}  → {output / PAGE}")
    if found.status is Status.ALERT:
        raise typer.Exit(ALERT_EXIT_CODE)
