"""Pictures of what a trained network sees, for print; drawn with matplotlib, without pyplot."""
