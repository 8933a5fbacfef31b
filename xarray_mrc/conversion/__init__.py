"""Conversion between MRC and Zarr, and between containers of MRC."""
