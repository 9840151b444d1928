"""`perennial check`: how usable the records are, said in a terminal and written down for everybody else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from features.mapping import Source, load_source
from features.records import Records, TableReport
from features.sources import read_records
from features.suspicions.finding import share
from features.usability import Usability, first_rows, meaning, remedy, usability
from models.sufficiency import Shortfall, Sufficiency
from training.labels import observed_until
from training.readiness import Readiness, readiness

WIDTH = 100
ASKED = {
    "customers": "customers at the training cutoffs",
    "rarer_labels": "cases of the rarer outcome",
    "history_days": "days from the first order to the last",
    "boosted": "enough customers and outcomes for trees",
    "repeat_buyers": "customers with repeat purchases of value",
}
GRADE_COLOURS = {"A": "green", "B": "green", "C": "yellow", "D": "red"}


@dataclass(frozen=True)
class Check:
    """Everything a check found out; ``readiness`` is None without a usable order."""

    source: Source
    records: Records
    facts: Usability
    readiness: Readiness | None


def check(path: Path, horizon_days: int) -> Check:
    """Read the records and gather what is to be said about them."""
    source = load_source(path)
    records = read_records(source)
    facts = usability(source, records)
    ready = readiness(records, observed_until(records), horizon_days) if facts.orders else None
    return Check(source, records, facts, ready)


def default_folder(source: Path) -> Path:
    """Return where a check writes unless told: beside the source file, under its name."""
    return source.parent / f"{source.stem}-check"


def verdict(found: Check) -> str:
    """Return the check in one sentence."""
    facts = found.facts
    if found.readiness is None:
        return "Not usable: no row of [orders] could be used. The reasons below say why."
    parts = [f"{facts.quarantined:,} of {facts.rows:,} rows set aside" if facts.quarantined else "every row is used"]
    things = len(facts.suspicions)
    parts.append(f"{things} {'thing' if things == 1 else 'things'} to look at" if things else "nothing looks wrong")
    parts.append(
        f"data grade {found.readiness.churn.grade} for churn, {found.readiness.value.grade} for customer value"
    )
    return f"Usable: {', '.join(parts)}."


def needs(ready: Readiness) -> list[tuple[str, Sufficiency, list[str]]]:
    """Return churn's and value's grade, each with a line per thing that stands before the next one."""
    churn = [_need(short, ready) for short in ready.churn.missing]
    if ready.better_horizon_days:
        churn.append(
            f"or predict fewer days: --horizon-days {ready.better_horizon_days} gets grade {ready.better_grade}"
        )
    value = [_need(short, ready) for short in ready.value.missing]
    return [(f"churn, {ready.horizon_days} days", ready.churn, churn), ("customer value", ready.value, value)]


def _need(short: Shortfall, ready: Readiness) -> str:
    if short.fact == "boosted":
        return ASKED[short.fact]
    line = f"{short.need:,.0f} {ASKED[short.fact]}: {short.have:,.0f} now, {short.need - short.have:,.0f} more"
    if short.fact == "history_days":
        return f"{line}: older records, or wait until {ready.reached_on(short.need)}"
    return line


def told(found: Check, console: Console | None = None) -> str:
    """Return the check as text in lines of at most 100 columns, coloured if ``console`` is a terminal."""
    console = console or Console(highlight=False, force_terminal=False, force_jupyter=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    with console.capture() as capture:
        console.print(Group(*_blocks(found)))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def show(found: Check, written: list[Path]) -> None:
    """Print the check, where it was written and what to do next; paths and commands are never cut."""
    typer.echo(told(found, Console(highlight=False)), color=True)
    page, *rows, report = written
    typer.secho("\nWritten", fg="cyan", bold=True)
    typer.echo(f"  {page}  (open it in a browser)")
    for path in rows:
        typer.echo(f"  {path}  (Excel: correct it, then name it in the source file)")
    typer.echo(f"  {report}  (for programs)")
    typer.secho("\nNext", fg="cyan", bold=True)
    typer.echo(f"  {_next(found)}")


def _next(found: Check) -> str:
    path = found.source.path
    if found.readiness is None:
        return f"change {path}, then: perennial check --source {path}"
    ready, days = found.readiness, found.readiness.horizon_days
    short = {each.fact: each for each in (*ready.churn.missing, *ready.value.missing)}
    if ready.churn.grade == "D" and "history_days" in short:
        if ready.better_horizon_days is None:
            return f"add older records (or other files) to {path}, then: perennial check --source {path}"
        days = ready.better_horizon_days
    what = "churn" if "repeat_buyers" in short and not short["repeat_buyers"].have else "all"
    return f"perennial train {what} --source {path} --horizon-days {days}"


def _blocks(found: Check) -> Iterator[RenderableType]:
    facts = found.facts
    yield Text.assemble((facts.name, "bold"), f"  {facts.rows:,} rows read as {found.source.path.name} says")
    yield Text(verdict(found), style="red" if found.readiness is None else "green")
    if found.readiness is not None:
        yield _titled("What is there", _summary(facts))
    yield _titled("What became of the rows", _rows(facts))
    for report in facts.reports:
        if report.reasons or report.corrections:
            yield _reasons(report, first_rows(found.records, report.table))
    if found.readiness is not None:
        yield _titled("Is it enough to learn from?", _grades(found.readiness))
    if facts.suspicions:
        yield _titled(f"Look at {'this' if len(facts.suspicions) == 1 else 'these'}", _suspicions(facts))
    yield _titled("How it was read", _reading(facts))


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(""), Text(title, style="bold cyan"), Padding(body, (0, 0, 0, 2)))


def _pairs(pairs: list[tuple[str, RenderableType]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for pair in pairs:
        table.add_row(*pair)
    return table


def _basis(margin_rate: float | None, known_share: float) -> str:
    """Say what values are counted in; ``known_share`` of the lines name a margin."""
    own = "the margin of each customer's own lines"
    if margin_rate is not None:
        fallback = f"a margin of {100 * margin_rate:g} %"
        return f"{own}, which {known_share:.0%} of them name, else in {fallback}" if known_share else fallback
    if known_share == 1:
        return own
    some = f", and only {known_share:.0%} of the lines name a margin" if known_share else ""
    return f"revenue, and actions that cost money wait: [economics] margin_rate is not set{some}"


def summary(facts: Usability) -> list[tuple[str, str]]:
    """Return the basis of every later number: period, customers, money and consent."""
    basis = _basis(facts.margin_rate, facts.margin_known_share)
    allowed = "allowed" if facts.consent_default == "allow" else "refused"
    times = "" if facts.has_times else "; days without times, so hours of the day say nothing"
    return [
        (
            "period",
            f"{facts.first_day} to {facts.last_day}, {facts.days:,} days on the clock of {facts.timezone}{times}",
        ),
        (
            "customers",
            f"{facts.customers:,} bought in {facts.orders:,} orders; {facts.returns:,} returns or cancellations",
        ),
        ("money", f"{facts.net_amount:,.0f} {facts.currency} net of returns; values are counted in {basis}"),
        ("contact", f'{allowed} where no [consents] row says otherwise (consent_default = "{facts.consent_default}")'),
    ]


def _summary(facts: Usability) -> Table:
    return _pairs([(name, Text(words)) for name, words in summary(facts)])


def _rows(facts: Usability) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("table")
    for heading in ("rows", "accepted", "corrected", "set aside"):
        table.add_column(heading, justify="right")
    for report in facts.reports:
        counts = (report.rows, report.accepted, report.corrected, report.quarantined)
        table.add_row(report.table, *(f"{count:,}" for count in counts))
    return table


def _reasons(report: TableReport, examples: Mapping[str, str]) -> RenderableType:
    lines: list[tuple[str, RenderableType]] = []
    for code, count in report.reasons.items():
        advice = [Text(f"for example {examples[code]}", style="dim")] if code in examples else []
        words = Text(f"{meaning(code)} ({code})")
        lines.append((f"{count:,} set aside", Group(words, *advice, Text(f"→ {remedy(code)}"))))
    lines += [(f"{count:,} corrected", Text(f"{meaning(code)} ({code})")) for code, count in report.corrections.items()]
    return Padding(Group(Text(report.table, style="bold"), Padding(_pairs(lines), (0, 0, 0, 2))), (0, 0, 0, 2))


def _grades(ready: Readiness) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, sufficiency, missing in needs(ready):
        grade = Text(sufficiency.grade, style=f"bold {GRADE_COLOURS[sufficiency.grade]}")
        lines = (
            [f"for grade {sufficiency.next_grade}:", *(f"→ {line}" for line in missing)]
            if missing
            else ["nothing is missing"]
        )
        table.add_row(name, grade, Text("\n".join(lines)))
    return table


def _suspicions(facts: Usability) -> Table:
    lines: list[tuple[str, RenderableType]] = [
        (str(number), Group(Text(found.text), Text(f"→ {found.advice}", style="yellow")))
        for number, found in enumerate(facts.suspicions, 1)
    ]
    return _pairs(lines)


def _reading(facts: Usability) -> Table:
    return _pairs([(name, Text(words)) for name, words in reading(facts)])


def reading(facts: Usability) -> list[tuple[str, str]]:
    """Return how each input was read, which mapped values are missing, and what else was noticed."""
    lines = []
    for report in facts.reports:
        for read in report.inputs:
            how = f", {read.encoding}, delimiter {read.delimiter!r}" if read.delimiter else ""
            unused = f"; columns not used: {', '.join(read.unused)}" if read.unused else ""
            same = f"; {read.identical:,} rows repeat another row and are kept" if read.identical else ""
            lines.append((report.table, f"{read.file}: {read.rows:,} rows{how}{same}{unused}"))
        lines += [(report.table, note) for note in report.notes]
    lines += [
        (
            entry.table,
            f"{entry.column} is empty in {entry.empty:,} of {entry.rows:,} rows ({share(entry.empty, entry.rows)})",
        )
        for entry in facts.missing
    ]
    return sorted(lines, key=lambda line: [report.table for report in facts.reports].index(line[0]))
