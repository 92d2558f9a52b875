"""Identifiers that sort by the time they were made: of batches, transitions, groups. Used by every room that makes one."""

from uuid6 import uuid7


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text; later ids of one process sort after earlier ones."""
    return str(uuid7())
