"""The whole loop on shipped real records, told as a marketer would want to hear it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from features.records import Records
    from serving.batch import ScoreSet
    from serving.codes import Language
    from training.fit import TrainingResult

HORIZON_DAYS = {"complete-journey": 28, "cdnow": 90}
EXAMPLES = 5


def run(dataset: Literal["complete-journey", "cdnow"], output: Path, language: "Language") -> None:
    """Unpack, check, train, score, draw; then say what was found, how far to trust it and what to type next."""
    console = Console()
    os.environ["PERENNIAL_HOME"] = str(output / "home")
    with _step(console, "Unpacking the records"):
        from perennial.shipped import unpack

        source = unpack(dataset, output)
    with _step(console, "Reading and checking them"):
        from features.sources import read_records

        records = read_records(source)
    with _step(console, "Training churn, value and segments; judging them on later records") as say:
        from perennial.settings import settings
        from training.fit import train_all

        settings.cache_clear()
        as_of = records.as_of()
        results = train_all(records, as_of, HORIZON_DAYS[dataset], progress=say)
    with _step(console, "Scoring every customer and choosing what to do next"):
        from serving.batch import read_scores, score_to

        score_to(output / "scores", records, as_of, language, settings())
        scored = read_scores(output / "scores")
    with _step(console, "Drawing the report"):
        from serving.report import write_report

        write_report(output / "scores", output / "report.html", language)
    _tell(console, records, scored, results, language)
    _point(console, output, scored)


@contextmanager
def _step(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show a moving line while a step works and a tick when it is done."""
    with console.status(f"{what} …") as status:
        yield lambda detail: status.update(f"{what}: {detail} …")
    console.print(f"[green]✓[/] {what}")


def _tell(
    console: Console,
    records: "Records",
    scored: "ScoreSet",
    results: "tuple[TrainingResult, ...]",
    language: "Language",
) -> None:
    manifest, scores = scored.manifest, scored.scores
    likely = scores[scores["churn_band"].isin(["high", "critical"])]
    money = "revenue" if manifest.clv_basis == "revenue" else "margin"
    console.print(
        f"\n[bold]{records.name}: {len(scores):,} customers as of {manifest.as_of:%Y-%m-%d}[/]\n"
        f"• {len(likely):,} of them will more likely than not buy nothing in the next {manifest.horizon_days} days.\n"
        f"• {_money(scores['money_at_risk'].sum(), manifest.currency)} of {money} over the coming "
        f"{manifest.clv_horizon_days} days hangs on who stays, "
        f"{_money(likely['money_at_risk'].sum(), manifest.currency)} of it on those {len(likely):,}."
    )
    console.print(_examples(scored, language))
    console.print("[bold]How far to trust it[/]")
    for line in _trust(results, scored):
        console.print(f"• {escape(line)}")


def _examples(scored: "ScoreSet", language: "Language") -> Table:
    from serving.lists import contactable, early_warning

    manifest, scores = scored.manifest, scored.scores
    action = {code.code: code.label(language) for code in manifest.actions}
    reachable = scores[early_warning(scores) & contactable(scores) & (scores["action_id"] != "do_nothing")]
    first = reachable.sort_values(["money_at_risk", "customer_id"], ascending=[False, True]).head(EXAMPLES)
    table = Table(
        title=f"Whom to contact first: most money at risk, not gone yet ({manifest.currency})",
        title_justify="left",
        show_lines=True,
    )
    for heading in ("customer", "may leave", "at risk", "why", "what to do next"):
        table.add_column(heading, overflow="fold")
    for row in first.itertuples():
        table.add_row(
            str(row.customer_id),
            f"{row.churn_probability:.0%}",
            f"{row.money_at_risk:,.0f}",
            escape(str(row.reason_1)),
            f"[bold]{escape(action.get(str(row.action_id), str(row.action_id)))}[/]\n{escape(str(row.action_reason))}",
        )
    return table


def _trust(results: "tuple[TrainingResult, ...]", scored: "ScoreSet") -> Iterator[str]:
    churn = next(result for result in results if result.name == "churn")
    ranking = next(comparison for comparison in churn.comparisons if comparison.measure == "auc")
    gap = churn.metrics["calibration_gap"]
    yield (f"Judged on {churn.judged_on}, which the judged model had not seen.")
    yield (
        f"Ranking who leaves: {ranking.verdict} against the simple rule “longest silent first”. "
        f"AUC {ranking.model:.3f} against {ranking.baseline:.3f}, difference {ranking.difference.value:+.3f} "
        f"(95 % interval {ranking.difference.low:+.3f} to {ranking.difference.high:+.3f})."
    )
    yield (
        f"Predicted minus real share of leavers: {100 * gap.value:+.1f} percentage points "
        f"(95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}). Data grade: {scored.manifest.data_grade}."
    )
    if scored.manifest.clv_basis == "revenue":
        yield (
            "Values are revenue: these records hold no margin, so actions that cost money wait. "
            "Give margin_rate under [economics] in source.toml."
        )
    yield "What an action earns is assumed in the playbook (evidence: assumed) until your own experiment measures it."


def _point(console: Console, output: Path, scored: "ScoreSet") -> None:
    home = output / "home"
    example = scored.scores["customer_id"].iloc[0]
    console.print(
        f"\n[bold]Look[/]\n"
        f"  report        {output / 'report.html'}\n"
        f"  score files   {output / 'scores'}  (scores.csv opens in Excel; segments/ are ready-made lists)\n"
        f"  source file   {output / 'source.toml'}\n"
        f"  experiments   .venv/bin/mlflow ui --backend-store-uri sqlite:///{home / 'mlflow.db'}\n"
        f"  API           PERENNIAL_HOME={home} PERENNIAL_API_KEY=demo .venv/bin/perennial serve\n"
        f"                curl -H 'X-API-Key: demo' localhost:3000/v1/customers/{example}",
        soft_wrap=True,
        highlight=False,
    )


def _money(amount: float, currency: str) -> str:
    return f"{amount:,.0f} {currency}"
