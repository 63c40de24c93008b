"""What was asked for: options as typed, and the requests that they make."""
