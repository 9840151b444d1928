"""Time and peak memory of all features as the log grows, each size in a process of its own, with a picture."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from matplotlib.ticker import LogFormatter, NullFormatter

from benchmarks.features_records import company, lines_in, records_in, spill_folder
from features.formulas import in_catalogue
from features.plan import log_plan
from features.snapshot import build_snapshot
from training.drawing import MODEL, MUTED, canvas, title, to_png


class Size(NamedTuple):
    """What all features of so many order lines took."""

    lines: int
    seconds: float
    peak_gb: float
    spilled_gb: float


def growth(
    asked: Sequence[int], folder: Path, plot: Path | None, seed: int, memory_limit: str, report: Callable[..., None]
) -> None:
    """Measure all features at sizes of about so many lines, smallest first, and draw how they grow."""
    sizes = []
    for lines in asked:
        database = company(folder / f"{lines}.duckdb", lines, seed)
        size = _measured(database, memory_limit)
        report("all features", size.seconds, "s", size.lines)
        report("all features, peak memory", size.peak_gb, "GB", size.lines)
        report(f"all features, most on disk beyond {memory_limit}", size.spilled_gb, "GB", size.lines)
        sizes.append(size)
        database.unlink()
    smallest, largest = sizes[0], sizes[-1]
    report("time at the largest size over the smallest", largest.seconds / smallest.seconds, "ratio", largest.lines)
    report("lines at the largest size over the smallest", largest.lines / smallest.lines, "ratio", largest.lines)
    if plot:
        plot.write_bytes(picture(sizes, memory_limit))


def _measured(database: Path, memory_limit: str) -> Size:
    command = [sys.executable, "-m", "benchmarks.features", "--peak", str(database), "--memory-limit", memory_limit]
    return Size(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def measure_alone(database: Path, memory_limit: str) -> None:
    """Print what all features take in this process, which has done nothing before."""
    records = records_in(database, memory_limit)
    as_of = records.as_of()
    log_plan(in_catalogue(None))  # compiled once a process, whatever the size
    with _most_spilled(spill_folder(database)) as spilled_bytes:
        started = time.perf_counter()
        build_snapshot(records, as_of)
        seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()  # the resource module's figure begins with the parent's
    peak_gb = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    sys.stdout.write(json.dumps(Size(lines_in(records), seconds, peak_gb, max(spilled_bytes) / 2**30)))


@contextmanager
def _most_spilled(folder: Path) -> Iterator[list[int]]:
    """Collect the size of what the engine has on disk, twenty times a second."""
    sizes, over = [0], Event()

    def sample() -> None:
        while not over.wait(0.05):
            with suppress(FileNotFoundError):  # dropped while it is looked at
                sizes.append(sum(file.stat().st_size for file in folder.glob("*")))

    thread = Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def picture(sizes: Sequence[Size], memory_limit: str) -> bytes:
    """Draw time and peak memory against lines, on logarithmic axes beside what grows like the lines."""
    lines = [size.lines for size in sizes]
    with canvas(10.0, 4.4) as figure:
        left, right = figure.subplots(1, 2)
        _draw(left, lines, [size.seconds for size in sizes], "seconds")
        _draw(right, lines, [size.peak_gb for size in sizes], "peak memory, GB")
        title(left, "Does time grow like the lines?", f"all features, the engine held to {memory_limit}")
        title(right, "Does memory stay in bounds?", "the whole process, at its peak")
        return to_png(figure)


def _draw(axes: Any, lines: Sequence[int], values: Sequence[float], label: str) -> None:
    linear = [values[0] * count / lines[0] for count in lines]
    axes.plot(lines, linear, color=MUTED, lw=1, ls=(0, (4, 3)), label="like the lines")
    axes.plot(lines, values, "o-", color=MODEL, label="measured")
    axes.set(xscale="log", yscale="log", xlabel="million order lines", ylabel=label)
    axes.set_xticks(lines, [f"{count / 1e6:.3g}" for count in lines])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
    for count, value in zip(lines, values, strict=True):
        axes.annotate(f"{value:.3g}", (count, value), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.legend(loc="lower right")
