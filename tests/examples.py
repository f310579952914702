"""How many examples Hypothesis draws: few in every run of the tests, as many as ``--examples`` says in a long one."""

from __future__ import annotations

from hypothesis import settings

LONG = "long"


def examples(count: int) -> settings:
    """Draw ``count`` examples, or those of the long run."""
    chosen = settings.get_profile(settings.get_current_profile_name())
    return settings(chosen, max_examples=chosen.max_examples if settings.get_current_profile_name() == LONG else count)
