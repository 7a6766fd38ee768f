"""swarmlearning.hf_transformers comes later; whoever imports it is told so in one line."""
from starling import SwarmError

raise SwarmError("swarmlearning.hf_transformers comes in a later release of Starling; use swarmlearning.pyt in a loop of your own")
