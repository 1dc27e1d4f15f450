"""Clips in other people's pipelines: their elements, and data sets read and written as PCollections of them."""
