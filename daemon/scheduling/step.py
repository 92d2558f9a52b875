"""What one step of a promotion did, for the chain to go on from."""

from dataclasses import dataclass

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    `ran`: a promotion was due; `published`: the layers that it changed; `settled`: the fate of dropped files is known
    now; `withdrawn`: a batch was taken back; `outstanding`: the disk does not show yet what the ledger says;
    `branched`: other tables have batches by it; `part`: it staged a further sheet of a workbook;
    `wanted`: steps that waited for it to end.
    """

    ran: bool
    published: tuple[Layer, ...] = ()
    settled: bool = False
    withdrawn: bool = False
    outstanding: bool = False
    branched: bool = False
    part: bool = False
    wanted: frozenset[tuple[TableKey, Layer]] = frozenset()
