"""The window on the device."""
