"""Each suspicion is raised by the fault it names, and nothing is raised by a sound log."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import generate
from features.contract import TABLES
from features.mapping import load_source
from features.sources import read_records
from features.suspicions import Suspicion, suspicions

HEAD = 'currency = "EUR"\ntimezone = "Europe/Berlin"\n'
Frames = dict[str, pd.DataFrame]


def sound_log(days: int = 430, seed: int = 3) -> Frames:
    """400 customers who arrive evenly and buy by day, on the wall clock of Berlin; closed on Sundays."""
    rng = np.random.default_rng(seed)
    count = 70 * days
    born = rng.uniform(0, days - 100, 400)
    who = rng.integers(400, size=count)
    day = np.floor(rng.uniform(0, days, count))
    start = pd.Timestamp("2023-01-02")
    when = start + pd.to_timedelta(day, unit="D") + pd.to_timedelta(rng.triangular(8, 17, 20, count) * 3600, unit="s")
    orders = pd.DataFrame(
        {"customer_id": who, "ordered_at": when.floor("s"), "amount": rng.gamma(4, 8, count).round(2)}
    )
    orders = orders[(day >= born[who]) & (when.day_of_week < 6)].sort_values("ordered_at", ignore_index=True)
    orders["order_id"] = "R" + orders.index.astype("str")
    orders["product_id"] = "P" + pd.Series(rng.integers(100, 400, len(orders))).astype("str")
    orders["quantity"] = 1.0
    orders["customer_id"] = "K" + (1000 + orders["customer_id"]).astype("str")
    first = orders.groupby("customer_id")["ordered_at"].min()
    customers = pd.DataFrame({"customer_id": first.index, "created_at": first.to_numpy(), "region": "north"})
    return {"orders": orders, "customers": customers}


def look(folder: Path, frames: Frames, head: str = HEAD, extra: str = "") -> tuple[Suspicion, ...]:
    """Write the frames as a business would and look at what is read."""
    text = head
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
        keys = [column for column in TABLES[name].mappable if column in frame]
        text += f'[{name}]\npath = "{name}.parquet"\n' + "".join(f'{key} = "{key}"\n' for key in keys)
        text += extra if name == "customers" else ""
    (folder / "source.toml").write_text(text)
    source = load_source(folder / "source.toml")
    return suspicions(source, read_records(source))


@pytest.fixture(scope="module")
def log() -> Frames:
    return sound_log()


def codes(found: tuple[Suspicion, ...]) -> list[str]:
    return [each.code for each in found]


def test_a_sound_log_raises_nothing(tmp_path: Path, log: Frames) -> None:
    assert look(tmp_path, log) == ()


@pytest.mark.parametrize("seed", [1, 7])
def test_the_generated_company_raises_nothing(tmp_path: Path, seed: int) -> None:
    assert look(tmp_path, generate(1_500, 540, seed).tables) == ()


def more(orders: pd.DataFrame, count: int, **columns: object) -> pd.DataFrame:
    """Return the orders with ``count`` copies of the middle one, numbered apart and changed."""
    extra = orders.iloc[[len(orders) // 2] * count].reset_index(drop=True)
    extra["order_id"] = "N" + extra.index.astype("str")
    return pd.concat([orders, extra.assign(**columns)], ignore_index=True)


def till(frames: Frames) -> Frames:
    orders = frames["orders"]
    taken = orders.index % 5 == 0
    return frames | {"orders": orders.assign(customer_id=orders["customer_id"].mask(taken, "TILL"))}


def hole(frames: Frames) -> Frames:
    orders = frames["orders"]
    return frames | {"orders": orders[~orders["ordered_at"].between("2023-09-04", "2023-09-08")]}


def spike(frames: Frames) -> Frames:
    times = pd.date_range("2023-09-06 08:00", periods=600, freq="min")
    return frames | {"orders": more(frames["orders"], 600, ordered_at=times)}


def short_last_day(frames: Frames) -> Frames:
    orders = frames["orders"]
    return frames | {"orders": orders[orders["ordered_at"] < "2024-02-29 12:00"]}


def amid_business(frames: Frames) -> Frames:
    orders = frames["orders"][frames["orders"]["ordered_at"] >= "2023-09-01"]
    return {"orders": orders}


def stray(frames: Frames) -> Frames:
    return {"orders": more(frames["orders"], 2, ordered_at=pd.Timestamp("2019-05-05 12:00"))}


def midnights(frames: Frames) -> Frames:
    orders = frames["orders"]
    some = orders.index % 10 == 0
    return {"orders": orders.assign(ordered_at=orders["ordered_at"].mask(some, orders["ordered_at"].dt.floor("D")))}


def at_night(frames: Frames) -> Frames:
    orders = frames["orders"]
    moved = orders["ordered_at"] + pd.Timedelta(hours=10)
    return {"orders": orders.assign(ordered_at=moved)[moved < "2024-03-06"]}


def shifted_days(frames: Frames) -> Frames:
    days = frames["orders"]["ordered_at"].dt.floor("D").dt.tz_localize("Europe/Berlin")
    utc = days.dt.tz_convert("UTC").dt.tz_localize(None)
    return {"orders": frames["orders"].assign(ordered_at=utc)}


def on_utc(frames: Frames) -> Frames:
    utc = frames["orders"]["ordered_at"].dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC").dt.tz_localize(None)
    return {"orders": frames["orders"].assign(ordered_at=utc)}


def postage(frames: Frames) -> Frames:
    orders = frames["orders"]
    for code, price in (("POST", 4.9), ("M", 100.0), ("GIFT CARD", 50.0)):
        orders = more(orders, 20, product_id=code, amount=np.linspace(0.1, price, 20))
        orders["order_id"] = orders["order_id"] + code[0]
    times = orders["ordered_at"].to_numpy().copy()
    times[-60:] = orders["ordered_at"].sample(60, random_state=1).to_numpy()
    return frames | {"orders": orders.assign(ordered_at=times)}


def opposites(frames: Frames) -> Frames:
    orders = more(frames["orders"], 1, amount=168_469.6, quantity=80_995.0)
    back = orders.iloc[[-1]].assign(amount=-168_469.6, quantity=-80_995.0, order_id="CN0")
    return {"orders": pd.concat([orders, back], ignore_index=True)}


def twice(frames: Frames) -> Frames:
    orders = frames["orders"]
    return {"orders": pd.concat([orders, orders[orders.index % 50 == 0]], ignore_index=True)}


def early_knowledge(frames: Frames) -> Frames:
    orders = frames["orders"]
    return {"orders": orders.assign(known_at=orders["ordered_at"] - pd.Timedelta(days=3))}


def late_creation(frames: Frames) -> Frames:
    customers = frames["customers"]
    return frames | {"customers": customers.assign(created_at=customers["created_at"] + pd.Timedelta(days=30))}


def other_ids(frames: Frames) -> Frames:
    ids = frames["customers"]["customer_id"].str.replace("K", "k-")
    return frames | {"customers": frames["customers"].assign(customer_id=ids)}


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (till, "house_account", "'TILL'"),
        (hole, "gap", "2023-09-04 to 2023-09-07"),
        (spike, "spike", "2023-09-06"),
        (short_last_day, "last_day_incomplete", "ends at 11:"),
        (amid_business, "left_censored", "first 28 days"),
        (stray, "stray_dates", "2019-05-05"),
        (midnights, "midnight", "10.0 %"),
        (at_night, "timezone_doubt", "between 1:00 and 5:00"),
        (shifted_days, "timezone_doubt", "22:00 and 23:00"),
        (postage, "non_product_codes", "POST (20 lines)"),
        (opposites, "opposite_extremes", "80,995 units"),
        (twice, "identical_rows", "2.0 %"),
        (early_knowledge, "known_before_it_happened", "3 days"),
        (late_creation, "created_after_first_order", "created after their first order"),
        (other_ids, "ids_do_not_meet", "0 of 400 customers in [customers]"),
    ],
)
def test_a_fault_raises_its_own_suspicion_and_no_other(
    tmp_path: Path, log: Frames, damage: Callable[[Frames], Frames], code: str, words: str
) -> None:
    found = look(tmp_path, damage(log))
    assert codes(found) == [code]
    assert words in found[0].text
    assert found[0].advice
    assert found[0].rows > 0


def test_a_clock_without_summer_time_is_told_by_the_jump(tmp_path: Path, log: Frames) -> None:
    found = look(tmp_path, on_utc(log), head=HEAD.replace("Europe/Berlin", "UTC"))
    assert codes(found) == ["timezone_doubt"]
    assert "2023-03-26 (-60 minutes), 2023-10-29 (+60 minutes)" in found[0].text


def test_utc_times_said_to_be_utc_in_a_zone_raise_nothing(tmp_path: Path, log: Frames) -> None:
    frames = on_utc(log)
    frames["orders"]["ordered_at"] = frames["orders"]["ordered_at"].dt.tz_localize("UTC")
    assert look(tmp_path, frames) == ()


@pytest.fixture(scope="module")
def leavers(log: Frames) -> pd.DataFrame:
    """Facts of each customer at the end of a log in which every third customer stops 120 days before it."""
    orders = log["orders"]
    stops = orders["customer_id"].str[-1].isin(["1", "4", "7"])
    return orders[~(stops & (orders["ordered_at"] >= "2023-11-01"))]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("last_order", "the day of the last order"),
        ("revenue", "the total spend"),
        ("order_count", "the number of orders"),
        ("status", "almost perfectly"),
        ("closed_on", "almost perfectly"),
    ],
)
def test_a_column_that_knows_the_future_is_named(
    tmp_path: Path, log: Frames, leavers: pd.DataFrame, column: str, words: str
) -> None:
    each = leavers.groupby("customer_id")
    gone = each["ordered_at"].max() < "2023-11-02"
    facts = pd.DataFrame(
        {
            "last_order": each["ordered_at"].max().dt.strftime("%Y-%m-%d"),
            "revenue": each["amount"].sum(),
            "order_count": each["order_id"].nunique(),
            "status": np.where(gone, "inactive", "active"),
            "closed_on": np.where(gone, "2023-12-01", None),
        }
    )
    honest = log["customers"].assign(shoe_size=np.arange(len(log["customers"])) % 12 + 35)
    frames = {"orders": leavers, "customers": honest.merge(facts, on="customer_id")}
    extra = f'{column} = "{column}"\nshoe_size = "shoe_size"\n'
    (found,) = look(tmp_path, frames, extra=extra)
    assert found.code == "knows_the_future"
    assert repr(column) in found.text
    assert words in found.text


def test_records_without_an_order_raise_nothing(tmp_path: Path) -> None:
    empty = pd.DataFrame({"customer_id": [None], "ordered_at": [pd.Timestamp("2024-01-05")], "amount": [1.0]})
    assert look(tmp_path, {"orders": empty.astype({"customer_id": "str"})}) == ()
