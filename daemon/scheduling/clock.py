"""The wall clock, read in one place. For stamps that people read; waiting is done on the monotonic clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)
