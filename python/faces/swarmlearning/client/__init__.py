"""Where the 2.x API keeps its base class: swarmlearning.client.swarm."""
