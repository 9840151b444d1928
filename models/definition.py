"""What churn is, said once: the question that labels, models, files and answers share.

Both ask how long a customer will have been silent when ``horizon_days`` have passed: longer than the horizon (no
purchase in it), or longer than nine in ten of the customer's own gaps between purchases.
"""

from enum import StrEnum

LEAST_GAPS = 4  # of fewer gaps the 90th percentile is little but the longest


class Definition(StrEnum):
    """Which silence counts as having left."""

    NO_PURCHASE = "no_purchase_in_horizon"
    PERSONAL = "personal_rhythm"

    def words(self, horizon_days: int, language: str) -> str:
        """Say it in a sentence, ``en`` or ``zh``."""
        return _WORDS[self, language].format(days=horizon_days, gaps=LEAST_GAPS)


_WORDS = {
    (Definition.NO_PURCHASE, "en"): (
        "Churn: no purchase within {days} days from as_of "
        "(a purchase is a calendar day with at least one order line that is not a return)."
    ),
    (Definition.NO_PURCHASE, "zh"): "流失：自as_of起{days}天内没有任何购买（按有非退货订单的日历日计）。",
    (Definition.PERSONAL, "en"): (
        "Churn: {days} days from as_of the customer has been silent for longer than nine in ten of their own gaps "
        "between purchases before as_of; customers with fewer than {gaps} gaps are held to the median of the others "
        "(a purchase is a calendar day with at least one order line that is not a return)."
    ),
    (Definition.PERSONAL, "zh"): (
        "流失：自as_of起{days}天后，客户的沉默时间已超过其本人购买间隔的第90百分位；间隔少于{gaps}次的客户按其余客户的中位数衡量"
        "（购买按有非退货订单的日历日计）。"
    ),
}
