"""Pictures: planes of the data with their contrast, figures, spectra, projections and pages."""
