"""The window on the device: its layout, its tensors and their snapshots."""
