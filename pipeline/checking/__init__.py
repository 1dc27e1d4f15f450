"""What must hold for records and outputs, and whether it does; here or on the workers of an engine."""
