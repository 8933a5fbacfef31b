"""Compressed files: decoders, encoders, and the source that reads through them."""
