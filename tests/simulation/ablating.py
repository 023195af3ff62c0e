"""How a piece of the product is replaced for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

Ablation = Callable[[ExitStack], None]


def put(stack: ExitStack, where: Any, name: str, value: Any) -> Any:
    """Replace an attribute; return what was there."""
    before = getattr(where, name)
    stack.enter_context(patch.object(where, name, value))
    return before
