"""The durable store of one study folder: what was asked, what was answered, and nothing that changes.

Tables of it (which need pandas) are in `lashley.study.ledger.tidy`.
"""

from lashley.study.ledger.ledger import Exclusion, Frame, Ledger
from lashley.study.ledger.spec import Spec, difference

__all__ = ["Exclusion", "Frame", "Ledger", "Spec", "difference"]
