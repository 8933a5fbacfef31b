"""Many files at once: a table of their headers, one stack of their images, a tree of datasets.

- `indexing`: `index`, from `paths` (which files), `heads` (their first bytes) and `header_table`.
- `stacks`: `open_stack`, from `references` (which images), `star` and `cryosparc` (tables that list
  them), `stack_array` (reading them) and `image_blocks` (their dask array).
- `batching`: `da.mrc.batches`.
- `box_extraction`: `da.mrc.extract`, from `points` (tables of positions), `box_array` (boxes of
  files) and `dask_boxes` (boxes of computed arrays).
- `stack_writing`: `write_stack`, with `written_table` and `optics_groups` (the STAR file that it
  writes).
- `collection`: `open_collection`.
"""
