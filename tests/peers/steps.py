"""What the drivers' scripts have in common: what they send, and how their steps are run.

A script is `SCRIPT URL MODE`: it takes each of its steps in turn, says which, and ends with status 1 at the
first that fails. MODE is how the relay pools. Tables are named for driver and mode, so that runs keep
out of each other's way.
"""

import inspect
import sys
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

URL, MODE = sys.argv[1:]
DRIVER = Path(sys.argv[0]).stem
TABLE = f"{DRIVER}_{MODE}"

# More than the relay has connections.
CROWD = 8
ROWS = 100_000
LARGE = 100 << 20
# A hang, where an answer is waited for.
PATIENCE = 30

# Beyond the basic plane, of several code points, of combining marks, from right to left.
TEXT = "Grüße, 世界! 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301n\u0303 שלום \U00010348 '\"\\ \t\r\n end"

# Each type with values that have to come back as they are.
VALUES = {
    "int2": [-32768, 0, 32767],
    "int4": [-(2**31), 2**31 - 1],
    "int8": [-(2**63), 2**63 - 1],
    "float8": [0.1, -1e300, float("inf")],
    "numeric": [Decimal("12345678901234567890.000000001")],
    "bool": [True, False],
    "text": [TEXT, "", "x" * 100_000],
    "bytea": [bytes(range(256)) * 1000, b""],
    "date": [date(2024, 2, 29)],
    "timestamptz": [datetime(2024, 2, 29, 23, 59, 59, 999999, timezone.utc)],
    "timestamp": [datetime(1, 1, 1)],
    "interval": [timedelta(days=400, microseconds=1)],
    "uuid": [UUID("00112233-4455-6677-8899-aabbccddeeff")],
    "int8[]": [[1, None, 2**62], []],
    "text[]": [[TEXT, None, "NULL", ""]],
}


def check(got, wanted):
    """Says what is different; `assert` alone would not."""
    if got != wanted:
        raise AssertionError(f"{got!r:.300} instead of {wanted!r:.300}")


_steps = []


def step(work):
    """A step that works however the relay pools."""
    _steps.append(work)
    return work


def step_with_block(work):
    """A step that needs a transaction block."""
    return work if MODE == "statement" else step(work)


def _ordered():
    for work in _steps:
        print(work.__name__, end=": ", flush=True)
        started = time.monotonic()
        yield work
        print(f"{time.monotonic() - started:.1f} s", flush=True)


def run():
    """Takes all steps."""
    for work in _ordered():
        work()


async def run_async():
    """Takes all steps, which are coroutines."""
    for work in _ordered():
        assert inspect.iscoroutinefunction(work)
        await work()
