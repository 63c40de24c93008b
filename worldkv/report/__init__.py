"""Tables, notes and JSON documents of results."""
