"""Pictures: planes of the data with their contrast, figures, spectra, projections and pages.

`planes` chooses and reads what every picture shows; `figure`, `contact`, `terminal` and
`thumbnails` draw it. matplotlib is imported by `figure` alone, when it draws.
"""
