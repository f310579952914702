"""Should we, and when: decisions that never wait."""

from .redial import Pause, Redial
from .retry import MAX_HOPS, Ask, Attempts, GiveUp, RetryPolicy, Verdict, Wait, safe_to_retry

__all__ = [
    "MAX_HOPS",
    "Ask",
    "Attempts",
    "GiveUp",
    "Pause",
    "Redial",
    "RetryPolicy",
    "Verdict",
    "Wait",
    "safe_to_retry",
]
