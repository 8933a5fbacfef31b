"""The commands of ``xarray-mrc``, one module each; the command has the name of its module."""
