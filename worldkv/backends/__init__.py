"""The room of the torch executor; empty so far. It will implement `worldkv.backend.CacheBackend` on real tensors."""
