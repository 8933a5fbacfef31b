"""Bytes to values and back: the header, the modes, the layout, the geometry.

numpy only: no files, no xarray, no dask. Everything here is a pure function or a small frozen
value.
"""
