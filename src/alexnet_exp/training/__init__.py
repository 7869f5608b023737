"""Loss, optimizer, callbacks, and the run itself."""
