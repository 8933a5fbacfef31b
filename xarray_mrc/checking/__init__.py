"""Checking: is a file valid, what do its data measure, and how would mrcfile judge it."""
