"""Pictures: of a comparison, of a path, of a sweep's best, of frames."""
