"""The 2.x training API over Starling: swarmlearning.tf, swarmlearning.pyt, swarmlearning.client.swarm."""
from starling import SwarmError

__all__ = ["SwarmError"]
