"""How fast this machine trains, and what holds it back."""
