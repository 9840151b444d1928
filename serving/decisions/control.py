"""The standing control group: who is left alone so that marketing's effect can be measured."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def control_group(customer_ids: Iterable[str], salt: str, share: float) -> npt.NDArray[np.bool_]:
    """Return who is in the control group, shape (n_customers,).

    The first 64 bits of sha256(salt + id) are read as a number in [0, 1) and compared with ``share``: the same
    customer is in or out for as long as the salt stands, and a larger share only adds members.
    """
    bound = round(share * 2**64)
    key = salt.encode()
    return np.fromiter(
        (int.from_bytes(hashlib.sha256(key + i.encode()).digest()[:8], "big") < bound for i in customer_ids),
        dtype=np.bool_,
    )
