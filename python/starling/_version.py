"""The version of the distributions `starling` and `starling-faces`; both are released together."""
VERSION = "0.1.0"
