"""The command ``xarray-mrc``: thin commands, each one call to a public function.

`program` holds the table of commands; each command is one module of `commands`. A new command is
one file there and one row in the table. Only click and what a command needs are imported, so that
``xarray-mrc header`` starts without xarray.
"""
