"""What a strategy costs: bytes that it sends, and a model of the time of one step."""
