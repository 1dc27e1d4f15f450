"""The command's flags for Beam."""
