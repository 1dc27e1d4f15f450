"""What a command says, on a terminal or elsewhere, and how it ends as a process."""
