"""Starling's Python client: a training program's side of the bridge to its learning node (SL). Standard library and numpy only.

Most programs use one of the callbacks of the distribution `starling-faces` (`swarmlearning.tf`, `swarmlearning.pyt`, `swarm`).
A program that trains neither with Keras nor with PyTorch speaks with its SL through a Session:

    import starling
    session = starling.Session(say=print)
    session.open([starling.spec_of("w", w)], sync_interval=128, min_peers=2)

All that can go wrong is a starling.SwarmError, whose text is one line.
"""
from starling._errors import SwarmError
from starling._layout import Bfloat16Words, TensorSpec, spec_of
from starling._session import Merged, Session
from starling._version import VERSION as __version__

__all__ = ["Bfloat16Words", "Merged", "Session", "SwarmError", "TensorSpec", "spec_of", "__version__"]
