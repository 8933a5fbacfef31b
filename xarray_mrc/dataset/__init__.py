"""Stage: dataset. File to xarray Dataset and back. Imports no dask."""
