"""One typed settings object, read from the environment (``PERENNIAL_…``) once per process."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from perennial.errors import SettingsError


class Settings(BaseSettings):
    """What differs between machines and tenants; never what a source file or a playbook says."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", extra="ignore")

    home: Path = Path(".perennial")
    database_url: str | None = None
    tracking_uri: str | None = None
    api_key: SecretStr | None = None
    threads: int = Field(default=2, ge=1, le=256)
    memory_limit: str = Field(default="1200MB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    seed: int = 7
    playbook: Path | None = None

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the serving store; one SQLite file in the home unless set."""
        return self.database_url or f"sqlite:///{(self.home / 'store.db').resolve()}"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry URI of MLflow; one SQLite file in the home unless set."""
        return self.tracking_uri or f"sqlite:///{(self.home / 'mlflow.db').resolve()}"

    @property
    def snapshots(self) -> Path:
        """Folder of kept snapshots."""
        return self.home / "snapshots"

    @property
    def scored(self) -> Path:
        """Folder of scores kept until what they foretold can be seen."""
        return self.home / "scored"

    @property
    def cards(self) -> Path:
        """Folder of model cards, one page and one text for each registered version."""
        return self.home / "cards"

    @property
    def shelf(self) -> Path:
        """Folder of published champions: what serving reads instead of the registry."""
        return self.home / "models"


@lru_cache
def settings() -> Settings:
    """Return the process's settings; tests clear the cache with ``settings.cache_clear()``."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"PERENNIAL_{'_'.join(map(str, first['loc'])).upper()}"
        raise SettingsError(f"{name} is {first['input']!r}: {first['msg']}") from None
