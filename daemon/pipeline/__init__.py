"""The layers, as LazyFrame in, LazyFrame out, then one durable file.

Runs in worker processes, and as a library.

The daemon comes in by `promote`; people's programs by the names exported here (docs/library.md).
"""

from daemon.pipeline.bronze import BronzeLayer
from daemon.pipeline.engine import PipelineEngine, Promoted
from daemon.pipeline.gold import GoldLayer
from daemon.pipeline.provenance import add_provenance_columns, generate_batch_id, update_layer_column
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.silver import SilverLayer
from daemon.pipeline.staged import StagedLayer

__all__ = [
    "BronzeLayer",
    "GoldLayer",
    "LayerResult",
    "PipelineEngine",
    "Place",
    "Promoted",
    "SilverLayer",
    "StagedLayer",
    "add_provenance_columns",
    "generate_batch_id",
    "update_layer_column",
]
