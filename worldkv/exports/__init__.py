"""Results as files for other viewers: a page for the browser, a timeline for Perfetto, a recording for Rerun."""
