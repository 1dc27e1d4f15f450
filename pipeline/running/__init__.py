"""Embeds corpora: the graph, pieces and their commits, array tasks, engines."""
