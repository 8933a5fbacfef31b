"""Many files at once: their headers as a table.

`paths` finds the files, `heads` reads the first bytes of each, `header_table` decodes them as
arrays, and `indexing` makes the Dataset.
"""
