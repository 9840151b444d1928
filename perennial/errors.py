"""Every error a user can meet, drawn once.

PerennialError
├── SettingsError      an environment variable holds something else than it should
├── SourceError        a source file or the records behind it cannot be used
├── EngineError        Spark, asked for as the engine, is missing or failed
├── InsufficientData   the records are sound but too few to fit or judge a model
├── ConvergenceError   a fit found no proper optimum
├── ArtefactError      a fitted model on disk is missing, altered or from another format
├── RegistryError      the model registry is away, busy or lacks the version asked for
├── PlaybookError      the playbook breaks one of its own rules
├── StoreError         the serving store cannot be read or written
└── OutputError        a result could not be written; the last good one is still there

A message says which value was wrong, where it stands, and what to do about it.
"""


class PerennialError(Exception):
    """Base of the tree; the command line prints its message and exits with 1."""


class SettingsError(PerennialError):
    """An environment variable holds something else than it should."""


class SourceError(PerennialError):
    """A source file or the records behind it cannot be used."""


class EngineError(PerennialError):
    """Spark, asked for as the engine, is missing or failed."""


class InsufficientData(PerennialError):
    """The records are sound but too few to fit or judge a model."""


class ConvergenceError(PerennialError):
    """A fit found no proper optimum."""


class ArtefactError(PerennialError):
    """A fitted model on disk is missing, altered or from another format."""


class RegistryError(PerennialError):
    """The model registry is away, busy or lacks the version asked for."""


class PlaybookError(PerennialError):
    """The playbook breaks one of its own rules."""


class StoreError(PerennialError):
    """The serving store cannot be read or written."""


class OutputError(PerennialError):
    """A result could not be written; the last good one is still there."""
