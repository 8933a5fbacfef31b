"""Files behind URLs: HTTP, S3 and every file system of fsspec, read by ranges of bytes.

`planner` is pure and turns ranges into requests. An adapter (`http`, `s3`, `filesystem`) sends the
requests for one kind of server. `source` puts both together, `opening` chooses the adapter.
"""
