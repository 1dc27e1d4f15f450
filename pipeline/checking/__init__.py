"""Records and outputs checked against what their manifest promises, here or on the workers of an engine."""
