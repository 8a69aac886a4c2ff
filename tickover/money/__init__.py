"""Money: metered time to a bill, a declared pool to a monthly cost.

Owns: price tables with dates and the arithmetic on them. Promises: pure and exact (integers and fractions;
no float ever), money leaves as decimal text with its currency; imports nothing of the rest of tickover.
Never: reads a clock, a file or a meter.
"""

from tickover.money.bill import EXACT, HOURLY, Bill, Line, Rounding, bill
from tickover.money.exact import plain
from tickover.money.model import PriceError, Spec, Usage
from tickover.money.monthly import HOURS_PER_MONTH, Cost, MonthlyCost, always, monthly
from tickover.money.tables import (
    CAMPAIGN_CNY,
    INTERNATIONAL_USD,
    LIST_CNY,
    TABLES,
    Factors,
    PriceTable,
    Tier,
    price,
    table_for,
)

__all__ = [
    "CAMPAIGN_CNY",
    "EXACT",
    "HOURLY",
    "HOURS_PER_MONTH",
    "INTERNATIONAL_USD",
    "LIST_CNY",
    "TABLES",
    "Bill",
    "Cost",
    "Factors",
    "Line",
    "MonthlyCost",
    "PriceError",
    "PriceTable",
    "Rounding",
    "Spec",
    "Tier",
    "Usage",
    "always",
    "bill",
    "monthly",
    "plain",
    "price",
    "table_for",
]
