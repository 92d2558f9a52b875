"""Bytes of any format -> lazy frames of text columns + the records set aside. Runs in a worker, for the staged layer."""

from daemon.readers.delivery import DamagedRecord, Delivery, Refusal, Source
from daemon.readers.reading import read_delivery

__all__ = ["DamagedRecord", "Delivery", "Refusal", "Source", "read_delivery"]
