"""What Beam is told of the command."""
