"""Files that `worldkv new-policy` writes."""
