"""Keeps Python's collector of cycles from stopping the beat.

Left to itself it walks the whole heap now and then, which takes 100 ms and more with a thousand
connections: two ticks. Here it collects what is young as ever, what has survived that once a
minute, and then sets the survivors apart (`gc.freeze`), so that the next time it walks only what
has come since. Once an hour it walks everything, for cycles that died after they were set apart.
"""

from __future__ import annotations

import asyncio
import gc

YOUNG_OBJECTS = 10_000  # One or two milliseconds of walking.
YOUNG_ROUNDS = 20
NEVER = 1_000_000_000
MINUTE_S = 60.0
MINUTES_PER_WHOLE = 60


async def run() -> None:
    """Collect at its own times until it is cancelled; then the collector is as it was."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, NEVER)
    try:
        gc.collect()
        gc.freeze()  # What the process is made of stays.
        minutes = 0
        while True:
            await asyncio.sleep(MINUTE_S)
            minutes += 1
            if minutes % MINUTES_PER_WHOLE == 0:
                gc.unfreeze()
            gc.collect()
            gc.freeze()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
