"""Stage: writing. From a planned file to bytes on disk. The stage that knows dask."""
