"""Early warning: who may leave and can still be reached in time. One rule, for the lists and for judging them."""

import numpy as np
import numpy.typing as npt

from models.matrix import Floats
from models.segment_rules import LifecycleStage

MAY_LEAVE = 0.25  # churn probability from which a warning is given: the lower bound of the band "medium"
# Silent for longer than the longest gap usual for the customer (own p90 gap): they know it without a warning.
OVERDUE_STAGES = (LifecycleStage.AT_RISK.value, LifecycleStage.CHURNED.value)


def warned_of(churn_probability: Floats, lifecycle_stage: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return who is warned of (n,): may leave, and is not past the own longest usual gap."""
    overdue = np.isin(np.asarray(lifecycle_stage, dtype=str), OVERDUE_STAGES)
    return (np.asarray(churn_probability) >= MAY_LEAVE) & ~overdue
