"""Stage: reading. From a path to an `OpenedFile` with a lazy array. Imports no xarray."""
