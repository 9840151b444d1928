"""Pictures as inline SVG: same numbers, same bytes; every text is escaped; each says in words what it shows."""

from collections.abc import Sequence
from math import ceil, floor, log10

from markupsafe import Markup

INK, MUTED, RULE = "#1c2b25", "#55655d", "#dfe6e1"
GREEN, PALE = "#1f6f54", "#cfe3d8"
BAND_COLOURS = {"low": "#6fae92", "medium": "#e3b74f", "high": "#d97f3a", "critical": "#a93a2c"}
_HEAT = ((246, 241, 234), (169, 58, 44))

_RECT = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{}" fill="{}"><title>{}</title></rect>')
_TEXT = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>')
_LINE = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="1"/>')


class Canvas:
    """One picture being drawn; coordinates in the view box's units."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self.width, self.height = width, height
        self._title, self._description = title, description
        self._parts: list[Markup] = []

    def bar(self, x: float, y: float, width: float, height: float, colour: str, tip: str, radius: int = 2) -> None:
        """Draw a bar that tells its number when pointed at."""
        self._parts.append(_RECT.format(x, y, max(width, 0), max(height, 0), radius, colour, tip))

    def text(self, x: float, y: float, words: str, anchor: str = "start", kind: str = "label") -> None:
        """Write words; ``kind`` is label, value or axis."""
        self._parts.append(_TEXT.format(x, y, anchor, kind, words))

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = RULE) -> None:
        """Draw a thin line."""
        self._parts.append(_LINE.format(x1, y1, x2, y2, colour))

    def add(self, part: Markup) -> None:
        """Draw something else."""
        self._parts.append(part)

    def done(self, name: str) -> Markup:
        """Return the picture; ``name`` is unique on the page."""
        head = Markup(
            '<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-labelledby="{}-t {}-d">'
            '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>'
        ).format(self.width, self.height, name, name, name, self._title, name, self._description)
        return head + Markup("").join(self._parts) + Markup("</svg>")


def histogram(
    name: str,
    counts: Sequence[int],
    colours: Sequence[str],
    tips: Sequence[str],
    title: str,
    description: str,
    axis: str,
) -> Markup:
    """Customers by churn probability in equal bins from 0 to 100 %."""
    canvas = Canvas(500, 250, title, description)
    left, top, width, height = 44.0, 12.0, 436.0, 184.0
    scale = _y_axis(canvas, max(counts, default=0), left, top, width, height)
    step = width / len(counts)
    for number, (value, colour, tip) in enumerate(zip(counts, colours, tips, strict=True)):
        canvas.bar(left + number * step + 1, top + height - value * scale, step - 2, value * scale, colour, tip)
    for percent in range(0, 101, 25):
        canvas.text(left + width * percent / 100, top + height + 18, f"{percent}%", "middle", "axis")
    canvas.text(left + width / 2, top + height + 42, axis, "middle", "axis")
    return canvas.done(name)


def columns(
    name: str, labels: Sequence[str], values: Sequence[int], tips: Sequence[str], title: str, description: str
) -> Markup:
    """Counts in time order."""
    canvas = Canvas(760, 230, title, description)
    left, top, width, height = 44.0, 22.0, 706.0, 168.0
    scale = _y_axis(canvas, max(values, default=0), left, top, width, height)
    step = width / len(values)
    for number, (label, value, tip) in enumerate(zip(labels, values, tips, strict=True)):
        x = left + number * step
        canvas.bar(x + 4, top + height - value * scale, step - 8, value * scale, GREEN, tip)
        canvas.text(x + step / 2, top + height + 17, label, "middle", "axis")
    return canvas.done(name)


def pairs(
    name: str,
    rows: Sequence[tuple[str, float, float, str, str]],
    legend: tuple[str, str],
    title: str,
    description: str,
) -> Markup:
    """Two shares per row, one above the other: (label, first, second, first's text, second's text)."""
    canvas = Canvas(500, 34 + 40 * len(rows), title, description)
    left, width = 146.0, 296.0
    widest = max((max(row[1], row[2]) for row in rows), default=0) or 1
    for number, (words, colour) in enumerate(zip(legend, (PALE, GREEN), strict=True)):
        canvas.bar(left + number * 160, 4, 12, 12, colour, words)
        canvas.text(left + number * 160 + 18, 14.5, words, kind="axis")
    for number, (label, first, second, first_text, second_text) in enumerate(rows):
        y = 34.0 + 40 * number
        canvas.text(left - 10, y + 18, label, "end")
        for at, share, colour, words in ((y, first, PALE, first_text), (y + 15, second, GREEN, second_text)):
            canvas.bar(left, at, width * share / widest, 13, colour, f"{label}: {words}")
            canvas.text(left + width * share / widest + 6, at + 10.5, words, kind="axis")
    return canvas.done(name)


def curve(
    name: str,
    shares: Sequence[float],
    mark: tuple[float, float, str],
    title: str,
    description: str,
    axes: tuple[str, str],
) -> Markup:
    """Share of value held by the best customers, against everybody being equal."""
    canvas = Canvas(500, 340, title, description)
    left, top, width, height = 52.0, 12.0, 424.0, 272.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + width * x, top + height * (1 - y)

    for percent in range(0, 101, 25):
        canvas.line(left, at(0, percent / 100)[1], left + width, at(0, percent / 100)[1])
        canvas.text(left - 8, at(0, percent / 100)[1] + 4, f"{percent}%", "end", "axis")
        canvas.text(at(percent / 100, 0)[0], top + height + 18, f"{percent}%", "middle", "axis")
    points = [at(number / (len(shares) - 1), share) for number, share in enumerate(shares)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor_y = top + height
    canvas.add(
        Markup('<polygon points="{},{} {} {},{}" fill="{}"/>').format(left, floor_y, path, left + width, floor_y, PALE)
    )
    canvas.add(Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2.5"/>').format(path, GREEN))
    canvas.line(*at(0, 0), *at(1, 1), MUTED)
    x, y = at(mark[0], mark[1])
    canvas.add(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="5" fill="{}"/>').format(x, y, BAND_COLOURS["critical"]))
    canvas.text(x + 11, y + 18, mark[2], kind="value")
    canvas.text(left + width / 2, top + height + 42, f"{axes[0]} → {axes[1]}", "middle", "axis")
    return canvas.done(name)


def heat(
    name: str,
    rows: Sequence[str],
    heads: Sequence[str],
    values: Sequence[Sequence[float]],
    texts: Sequence[Sequence[str]],
    title: str,
    description: str,
) -> Markup:
    """A table whose cells are the redder the larger their value."""
    canvas = Canvas(500, 30 + 34 * len(rows), title, description)
    left, width = 146.0, 352.0 / len(heads)
    largest = max((value for row in values for value in row), default=0) or 1
    for number, head in enumerate(heads):
        canvas.text(left + width * (number + 0.5), 18, head, "middle", "axis")
    for line, (label, row, words) in enumerate(zip(rows, values, texts, strict=True)):
        y = 28.0 + 34 * line
        canvas.text(left - 10, y + 20, label, "end")
        for number, (value, word) in enumerate(zip(row, words, strict=True)):
            heat_share = (max(value, 0) / largest) ** 0.6  # lifts small cells off the paper
            canvas.bar(
                left + width * number + 1, y, width - 2, 31, _mix(heat_share), f"{label} · {heads[number]}: {word}", 3
            )
            kind = "on-dark" if heat_share > 0.62 else "label"
            canvas.text(left + width * (number + 0.5), y + 20, word, "middle", kind)
    return canvas.done(name)


def ranges(name: str, rows: Sequence[tuple[str, float, float, float, str]], title: str, description: str) -> Markup:
    """What is expected, and the range it will lie in: (label, expected, low, high, text)."""
    canvas = Canvas(500, 8 + 40 * len(rows), title, description)
    left, width = 146.0, 344.0
    farthest = max((row[3] for row in rows), default=0) or 1
    for number, (label, expected, low, high, words) in enumerate(rows):
        y = 6.0 + 40 * number
        start, middle, end = (left + width * max(value, 0) / farthest for value in (low, expected, high))
        canvas.text(left - 10, y + 18, label, "end")
        canvas.bar(left, y, middle - left, 15, PALE, f"{label}: {words}")
        canvas.line(start, y + 7.5, end, y + 7.5, GREEN)
        for x in (start, end):
            canvas.line(x, y + 2, x, y + 13, GREEN)
        canvas.text(left, y + 28, words, kind="axis")
    return canvas.done(name)


def stacked(name: str, parts: Sequence[tuple[str, float, str, str]], title: str, description: str) -> Markup:
    """One bar cut by share: (label, share, colour, text)."""
    canvas = Canvas(1000, 74, title, description)
    x = 0.0
    for label, share, colour, words in parts:
        width = 1000 * share
        canvas.bar(x, 0, width - (2 if width > 4 else 0), 40, colour, f"{label}: {words}", 4)
        if share >= 0.09:
            canvas.text(x + 4, 60, label, kind="stack")
        x += width
    return canvas.done(name)


def _y_axis(canvas: Canvas, largest: float, left: float, top: float, width: float, height: float) -> float:
    """Draw round gridlines and return units of height per unit of value."""
    step = _round_step(largest)
    highest = max(step * ceil(largest / step), step)
    ticks = range(0, int(highest) + 1, int(step))
    for tick in ticks:
        y = top + height * (1 - tick / highest)
        canvas.line(left, y, left + width, y)
        canvas.text(left - 6, y + 4, f"{tick:,}", "end", "axis")
    return height / highest


def _round_step(largest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives at most five gridlines."""
    if largest <= 4:
        return 1
    power = 10.0 ** floor(log10(largest / 4))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 4 >= largest)


def _mix(share: float) -> str:
    low, high = _HEAT
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))
