"""The one way results leave the engine."""

import ibis
import pandas as pd


def fetch(table: ibis.Table) -> pd.DataFrame:
    """Run a table expression; dates come as ``datetime.date``, text as ``str``, unknown numbers as NaN.

    Goes through Arrow: Ibis's own ``execute`` asks pandas for an option that pandas 3 deprecates, and copies twice.
    """
    frame: pd.DataFrame = table.to_pyarrow().to_pandas()
    return frame
