"""Requests -> examples, in processes that may crash, hang or balloon without harm."""
