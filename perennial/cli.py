"""The one command. Each subcommand imports what it needs when it runs, so that help stays instant."""

import os
import sys
import warnings

import typer

from perennial.commands import models, monitoring, records, scores
from perennial.errors import PerennialError

COMMANDS = (
    scores.demo,
    records.init,
    records.check,
    records.features,
    models.train,
    models.predict,
    models.backtest,
    models.promote,
    models.rollback,
    monitoring.monitor,
    scores.score,
    scores.report,
    scores.serve,
)

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
keys_app.command("add")(scores.keys_add)
playbook_app.command("check")(scores.playbook_check)
for command in COMMANDS:
    app.command()(command)


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
