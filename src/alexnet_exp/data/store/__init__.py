"""Photos packed once, and read again."""
