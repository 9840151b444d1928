"""Names, addresses and consents: what a business writes down about its customers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.company.consents import CHANNELS, Consents
from benchmarks.company.people import People
from benchmarks.company.settings import FIRST_DAY, SHARES, Flags, Ints
from benchmarks.company.tables import in_log, instants, texts

MARGIN_RATE = 0.4
# By script: given names, family names, what stands between, family name first.
NAMES: tuple[tuple[str, str, str, bool], ...] = (
    (
        "Anna Ben Clara David Emma Finn Grace Henry Iris Jack",
        "Adams Brown Clarke Evans Hughes Moore Patel Wright",
        " ",
        False,
    ),
    (
        "José Lucía Zoë François Jürgen Søren Ágnes Łukasz",
        "García Müller Østergård Nuñez Dvořák Kovács Şahin",
        " ",
        False,
    ),
    ("伟 芳 娜 敏 静 丽 强 磊 晓明 思雨 子涵 浩然", "王 李 张 刘 陈 杨 赵 黄 周 吴 欧阳", "", True),
    ("Анна Иван Мария Дмитрий Ольга Сергей", "Иванова Петренко Соколов Кузнецова", " ", False),
    ("ليلى عمر فاطمة يوسف مريم", "حداد منصور الخطيب نجار", " ", False),
    ("さくら 陽翔 結衣 蓮", "佐藤 鈴木 高橋 田中", " ", True),
)
# By region: shares of the scripts above, zones, and the languages that go with the scripts.
SCRIPTS = {
    "north": (0.7, 0.2, 0.05, 0.05, 0.0, 0.0),
    "south": (0.2, 0.6, 0.0, 0.0, 0.2, 0.0),
    "east": (0.05, 0.0, 0.75, 0.1, 0.0, 0.1),
}
ZONES = ("Europe/London", "Europe/Berlin", "Europe/Madrid", "Africa/Cairo", "Asia/Shanghai", "Asia/Tokyo")
ZONE_OF_SCRIPT = np.array([0, 2, 4, 1, 3, 5])
LANGUAGES = ("en", "es", "zh", "ru", "ar", "ja")


def customers_table(rng: np.random.Generator, people: People, referred_by: Ints, ids: pa.Array) -> pa.Table:
    """Return the customers table; a third of zones, half of phones and a fifth of birthdays are not known."""
    n = len(people)
    number = np.arange(people.first, people.first + n)
    edges = np.cumsum(np.array([SCRIPTS[name] for name in SHARES["region"]]), axis=1)[people.codes["region"]]
    script = np.minimum((rng.uniform(size=(n, 1)) >= edges).sum(axis=1), len(NAMES) - 1)
    born_on = rng.integers(18 * 365, 80 * 365, size=n)
    birthday = (FIRST_DAY - pd.to_timedelta(born_on, unit="D")).to_numpy().astype("datetime64[D]")
    digits = pc.utf8_lpad(pc.cast(pa.array(number), pa.string()), 7, "0")
    columns = {
        "customer_id": ids,
        "created_at": instants(people.born),
        "name": _names(rng, script),
        "email": pc.binary_join_element_wise("customer", digits, "@example.com", ""),
        # numbers kept free for stories by the British regulator
        "phone": _some(rng, 0.5, pc.binary_join_element_wise("+44 7700 900", pc.utf8_slice_codeunits(digits, 4), "")),
        "language": texts(script, LANGUAGES),
        "timezone": texts(ZONE_OF_SCRIPT[script], ZONES, missing=rng.uniform(size=n) < 1 / 3),
        "birthday": pa.array(birthday, mask=rng.uniform(size=n) < 0.2),
        "referred_by": pa.DictionaryArray.from_arrays(
            pa.array(np.maximum(referred_by, 0).astype(np.int32), mask=referred_by < 0), ids
        ),
        "acquisition_channel": texts(people.codes["acquisition_channel"], tuple(SHARES["acquisition_channel"])),
        "region": texts(people.codes["region"], tuple(SHARES["region"])),
        "margin_rate": pa.array(np.full(n, MARGIN_RATE)),
    }
    return pa.table(columns)


def _some(rng: np.random.Generator, share: float, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(rng.uniform(size=len(values)) < share), values, None)


def _names(rng: np.random.Generator, script: Ints) -> pa.DictionaryArray:
    words, sizes = [], []
    for given, family, between, family_first in NAMES:
        both = [(a, b) for a in given.split() for b in family.split()]
        words += [between.join((b, a) if family_first else (a, b)) for a, b in both]
        sizes.append(len(both))
    start = np.cumsum([0, *sizes[:-1]])
    return texts(start[script] + rng.integers(np.array(sizes)[script]), words)


def consents_table(consents: Consents, people: People, ids: pa.Array, days: int) -> pa.Table:
    """Return given and withdrawn marketing consents, and a consent to service mail from everybody."""
    given = np.nonzero(consents.agreed)
    withdrawn = np.nonzero(consents.agreed & (consents.withdrawn < days))
    everyone = np.arange(len(people))
    owner = np.concatenate([given[0], withdrawn[0], everyone])
    day = np.concatenate([people.born[given[0]], consents.withdrawn[withdrawn], people.born])
    channel = np.concatenate([given[1], withdrawn[1], np.zeros(len(people), dtype=np.int64)])
    sizes = [len(given[0]), len(withdrawn[0]), len(people)]
    granted: Flags = np.repeat([True, False, True], sizes)
    purpose = np.repeat([0, 0, 1], sizes)
    kept = in_log(day, days)
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(pa.array(owner[kept].astype(np.int32)), ids),
            "occurred_at": instants(day[kept]),
            "channel": texts(channel[kept], CHANNELS),
            "purpose": texts(purpose[kept], ("marketing", "service")),
            "granted": pa.array(granted[kept]),
        }
    )
