"""What `worldkv new-policy` writes: files that are right as they stand, to be changed line by line."""
