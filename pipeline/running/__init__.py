"""Embeds corpora: the graph, array tasks, engines."""
