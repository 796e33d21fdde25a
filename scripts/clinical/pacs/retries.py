"""Trying again, a bounded number of times: what a network may cure by itself, and what it will not."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from scripts.errors import InputError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class PassingError(Exception):
    """Something that may be gone at the next try: a PACS that is down, slow or busy, a transfer cut short. The text says
    what happened, in words of ours: those of a server may quote a patient or a password."""


@dataclass(frozen=True)
class Patience:
    """How long a PACS is waited for.

    Args:
        attempts: tries of each object, the first one counted.
        wait_s: before the second try; doubled before each further one.
        connect_s, silence_s: until a connection stands; between two pieces of an answer.
        object_s: for one object in all, so that a trickle ends too.
    """

    attempts: int = 4
    wait_s: float = 1.0
    connect_s: float = 10.0
    silence_s: float = 30.0
    object_s: float = 300.0

    def keep_trying(self, what: str, action: Callable[[], Result], remedy: str) -> Result:
        """The result of ``action``, tried again after each ``PassingError``.

        Raises:
            InputError: the last try failed too; with ``what`` was tried, why it failed and the ``remedy``.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except PassingError as error:
                if attempt == self.attempts:
                    raise InputError(f"{what} failed {attempt} times; the last time {error}. {remedy}") from None
                wait = self.wait_s * 2 ** (attempt - 1)
                logger.warning("%s failed: %s; next try in %g s", what, error, wait)
                time.sleep(wait)
        raise ValueError(f"Expected at least one attempt, got {self.attempts}.")
