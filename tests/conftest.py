"""What several rooms' tests share: a real Spark on this machine."""

import os
import shutil
from pathlib import Path

import pytest

# Small data on few cores: no compiling of plans, three partitions, and batches that cut through them.
SPARK_DEFAULTS = """\
spark.master local[2]
spark.ui.enabled false
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1
spark.sql.shuffle.partitions 3
spark.sql.adaptive.enabled false
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.sql.execution.arrow.maxRecordsPerBatch 150
"""


@pytest.fixture(scope="session")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home for `features.spark.on_spark`; the session that the first use starts serves all tests."""
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17: apt-get install openjdk-17-jre-headless")
    home = tmp_path_factory.mktemp("spark")
    (home / "spark-defaults.conf").write_text(SPARK_DEFAULTS)
    os.environ["SPARK_CONF_DIR"] = str(home)
    root = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return home
