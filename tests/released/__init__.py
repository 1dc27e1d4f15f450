"""Against the released weights, which a machine with a network fetches: run on request only."""
